"""Tests of LangChain's that ask for more wit than the default model has; they still run, and may pass."""

import pytest

TOO_HARD = {
    "test_agent_loop": "the tiny model answers by itself where a tool could be called",
    "test_unicode_tool_call_integration": "the tiny model writes a Chinese or Japanese name in its own words",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        reason = TOO_HARD.get(item.name.partition("[")[0])
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason))
