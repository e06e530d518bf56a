"""What schemathesis needs to know of us; it loads this module by name in a process of its own."""

import os
import re
from typing import Any

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.live import LOCAL_MODEL

# Requests that fit the schema and are refused all the same. What a model cannot honour has codes that the document announces;
REFUSABLE = {"unsupported_parameter", "context_length_exceeded"}
# what must refer to something else in the request is beyond JSON Schema, to which 1.0 is an integer besides.
UNSAYABLE = re.compile("no earlier assistant message|Two tools|not among the tools|Expected `int.*got `float`")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Makes answers cheap, and gives them a model that is served. What is wrong with a request stays wrong."""
    body = case.body
    if not isinstance(body, dict):
        return
    if isinstance(body.get("model"), str) and body["model"]:
        body["model"] = LOCAL_MODEL
    if body.get("max_tokens") is None or _is_within(body["max_tokens"], 1):
        body["max_tokens"] = 2
    if _is_within(body.get("max_completion_tokens"), 1):
        body["max_completion_tokens"] = 2
    if _is_within(body.get("n"), 1, 128):
        body["n"] = min(body["n"], 2)
    if os.environ.get("FUZZ_STREAMS") and not body.get("stream", False):
        body["stream"] = True


@schemathesis.check
def valid_requests_are_answered(ctx: Any, response: Any, case: Any) -> None:
    """As schemathesis checks it by itself, but for what no schema can say."""
    if response.status_code == 400:
        error = response.json()["error"]
        if error["code"] in REFUSABLE or UNSAYABLE.search(error["message"]):
            return
    positive_data_acceptance(ctx, response, case)


def _is_within(value: Any, least: float, most: float = float("inf")) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
