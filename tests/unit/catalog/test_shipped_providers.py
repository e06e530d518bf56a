"""The shipped rows of upstreams, and the quirks' own checks."""

import re
from typing import Any

import msgspec
import pytest

from tollway.catalog import ProviderRow, Quirks, shipped_providers

ROWS = shipped_providers()


@pytest.mark.parametrize("row", ROWS.values(), ids=str)
def test_a_row_can_be_used_as_it_is(row: ProviderRow) -> None:
    assert re.fullmatch(r"[a-z0-9-]+", row.name)
    assert re.fullmatch(r"https://[a-z0-9.-]+(/[a-z0-9]+)*|http://127\.0\.0\.1:\d+/v1", row.base_url)
    assert row.key_variables
    # TOLLWAY_ is the prefix of settings, where an unknown one is an error.
    assert all(re.fullmatch(r"(?!TOLLWAY_)[A-Z_]+_API_KEY", name) for name in row.key_variables)


def test_rows_have_names_and_addresses_of_their_own() -> None:
    assert len({row.name for row in ROWS.values()}) == len(ROWS) == 14


@pytest.mark.parametrize("row", ROWS.values(), ids=str)
def test_only_public_upstreams_fetch_images_themselves(row: ProviderRow) -> None:
    """One in the operator's own network would be led to internal addresses by a caller's URL."""
    assert not (row.quirks.fetches_images and row.base_url.startswith("http://"))


@pytest.mark.parametrize("row", ROWS.values(), ids=str)
def test_no_row_forwards_what_costs_the_operator_or_reaches_into_the_server(row: ProviderRow) -> None:
    dangerous = (
        "models", "route", "provider", "plugins", "web_search_options", "modalities", "chat_template", "priority",
        "kv_transfer_params", "best_of", "prompt_logprobs", "lora_path", "n_predict", "cache_salt",
    )  # fmt: skip

    assert not [name for name in dangerous if row.quirks.takes(name)]
    assert not {"store", "metadata", "service_tier"} & {*row.quirks.hints}


def test_rows_know_what_their_upstreams_do_with_the_calls_of_a_conversation() -> None:
    assert {name for name, row in ROWS.items() if not row.quirks.named_tool_choice} == {"llama-server", "lm-studio"}
    assert {name for name, row in ROWS.items() if row.quirks.tool_call_id_length == 9} == {"mistral"}
    assert {name for name, row in ROWS.items() if row.quirks.extra_content} == {"aimlapi", "tollway"}


@pytest.mark.parametrize(
    ("extra", "taken"),
    [(False, []), (True, ["a", "b"]), (("b",), ["b"])],
)
def test_extra_parameters_are_all_none_or_those_that_are_named(extra: bool | tuple[str, ...], taken: list[str]) -> None:
    assert [name for name in ("a", "b") if Quirks(extra_parameters=extra).takes(name)] == taken


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"refused_parameters": ["tempreature"]}, "`tempreature` is no parameter"),
        ({"refused_parameters": ["messages"]}, "`messages` is no parameter"),
        ({"parameter_names": {"max_tokens": "x"}}, "`max_tokens` is no parameter"),
        ({"hints": ["temperature"]}, "`temperature` is none of the hints"),
        ({"done_mark": False}, "unknown field `done_mark`"),
        ({"extra_parameters": "top_a"}, "Expected"),
    ],
)
def test_an_operators_typo_is_told(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(fields, Quirks)
