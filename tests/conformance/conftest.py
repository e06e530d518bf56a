"""Tests of LangChain's that say nothing of a service."""

import pytest

# They ask for more wit than the default model has; they still run, and may pass.
TOO_HARD = {
    "test_agent_loop": "the tiny model answers by itself where a tool could be called",
    "test_unicode_tool_call_integration": "the tiny model writes a Chinese or Japanese name in its own words",
}
NOT_OURS = {"test_stream_time": "measures LangChain itself, with recorded answers"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        name = item.name.partition("[")[0]
        if name in TOO_HARD:
            item.add_marker(pytest.mark.xfail(reason=TOO_HARD[name]))
        if name in NOT_OURS:
            item.add_marker(pytest.mark.skip(reason=NOT_OURS[name]))
