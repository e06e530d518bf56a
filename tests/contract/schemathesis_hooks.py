"""What schemathesis needs to know of us; it loads this module by name in a process of its own."""

import os
import re
from typing import Any

import schemathesis
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from tests.live import LOCAL_MODEL

# Requests that fit the schema and are refused all the same. What a model cannot honour has codes that the document announces;
REFUSABLE = {"unsupported_parameter", "context_length_exceeded"}
# what must refer to something else in the request is beyond JSON Schema, to which 1e300 is an integer besides; and a tool's
# parameters are any object in the document, of which not every one is a schema.
UNSAYABLE = re.compile(
    "no earlier assistant message|Two functions|not among the functions|Expected `int.*got `float`|Invalid JSON schema"
)
# Nor can a schema say what a name is made of, which names are taken, what time it is, and how long a credit's decimals are.
UNSAYABLE_OF_KEYS = re.compile(
    "control characters|1 to [12]00 characters|Expected `int.*got `float`|of this name already|is past|year 2200|one credit"
)
# Nor which parameters go together, what a cursor is made of, and whose key a prefix names.
UNSAYABLE_OF_BILLING = re.compile(
    "cannot be given together|go together|none that this server gave|at most 92 days|must not be earlier|must be later|"
    "no IANA time zone|between the years|an alias of a model|no ISO 8601 time|given more than"
)

# Prefixes of keys that the fuzzing made itself: it changes and deletes no others.
_made: list[str] = []
_PREFIX = re.compile(r"^tw_[0-9A-Za-z]{9}$")
_NOBODYS = "tw_000000000"


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Makes answers cheap, and gives them a model that is served. What is wrong with a request stays wrong."""
    prefix = (case.path_parameters or {}).get("prefix")
    if isinstance(prefix, str) and _PREFIX.fullmatch(prefix):  # schemathesis takes some from what was answered before
        made = _made or [_NOBODYS]
        case.path_parameters["prefix"] = made.pop() if case.method == "DELETE" else made[-1]
    if os.environ.get("FUZZ_SESSION"):
        case.headers.pop("Authorization", None)  # it would be asked before the cookie
    body = case.body
    if not isinstance(body, dict) or not case.operation.path.endswith("/chat/completions"):
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


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Remembers the keys that were made; a rotated one has a new prefix."""
    if case.operation.path.startswith("/v1/keys") and response.status_code in {200, 201} and case.method == "POST":
        if case.operation.path.endswith("/rotate"):
            _made.pop()
        _made.append(response.json()["data"]["prefix"])


@schemathesis.check
def valid_requests_are_answered(ctx: Any, response: Any, case: Any) -> None:
    """As schemathesis checks it by itself, but for what no schema can say."""
    if response.status_code == 422 and response.json()["error"]["code"] == "idempotency_key_reused":
        return  # no schema knows which keys were used before
    if response.status_code == 400:
        error = response.json()["error"]
        path = case.operation.path
        unsayable = UNSAYABLE_OF_KEYS if path.startswith("/v1/keys") else UNSAYABLE
        unsayable = UNSAYABLE_OF_BILLING if path.startswith("/v2/") else unsayable
        if error["code"] in REFUSABLE or unsayable.search(error["message"]):
            return
    positive_data_acceptance(ctx, response, case)


@schemathesis.check
def invalid_requests_are_refused(ctx: Any, response: Any, case: Any) -> None:
    """As schemathesis checks it by itself, but a body with too many parts can also be too large."""
    if response.status_code != 413:
        negative_data_rejection(ctx, response, case)


def _is_within(value: Any, least: float, most: float = float("inf")) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
