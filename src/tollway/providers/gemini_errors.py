"""Gemini's errors as Tollway's. Its own text stays in the log: it names the operator's project, and can quote the prompt."""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import structlog

from tollway.catalog import Route
from tollway.errors import (
    BadGateway,
    ContextLengthExceeded,
    GatewayTimeout,
    InvalidRequest,
    PayloadTooLarge,
    RateLimited,
    ServiceUnavailable,
    TollwayError,
    UnsupportedParameter,
)
from tollway.providers.http import CannotConnect

log = structlog.get_logger()

RETRY_AFTER_SECONDS_MAX = 86_400
LOGGED_CHARS_MAX = 500
REFUSED_SECONDS = 300
"""How long nobody should ask again after a refusal that only the operator can mend."""

_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_SECONDS = re.compile(r"\d{1,9}")
# Which parameter a 400 is about, by what its text or its field violations speak of; the first match counts.
_PARAMETERS = (
    (re.compile(r"thinking", re.IGNORECASE), "reasoning_effort"),
    (re.compile(r"response mime type|response_?mime_?type|^json mode", re.IGNORECASE), "response_format"),
    (re.compile(r"response_?(json_?)?schema", re.IGNORECASE), "response_format.json_schema.schema"),
    (
        re.compile(
            r"function_?declarations|parameters_?json_?schema|parameters\.properties|^function calling is", re.IGNORECASE
        ),
        "tools",
    ),
    (re.compile(r"tool_?config|function_?calling_?config|allowed_?function_?names", re.IGNORECASE), "tool_choice"),
    (re.compile(r"max_?output_?tokens", re.IGNORECASE), "max_completion_tokens"),
    (re.compile(r"stop_?sequences", re.IGNORECASE), "stop"),
    (re.compile(r"top_?p\b", re.IGNORECASE), "top_p"),
    (re.compile(r"top_?k\b", re.IGNORECASE), "top_k"),
    (re.compile(r"temperature", re.IGNORECASE), "temperature"),
    (re.compile(r"candidate_?count|multiple candidates", re.IGNORECASE), "n"),
    (re.compile(r"penalty|logprobs", re.IGNORECASE), None),  # never sent, so not the caller's doing
    (
        re.compile(r"contents|function (call|response)|mime type|inline_?data|image|parts|instruction", re.IGNORECASE),
        "messages",
    ),
)
# At the beginning only: further on the text may quote the caller, who could make everybody wait for the operator.
_BAD_KEY = re.compile(r"api key\b", re.IGNORECASE)
_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)
_TOO_LONG = re.compile(r"token count.{0,40}exceeds|exceeds the maximum number of (input )?tokens", re.IGNORECASE)


def error_of(body: bytes) -> dict[str, Any] | None:
    """The error object in a body: `{"error": {...}}`, also wrapped in an array; None where there is none."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(decoded, list):
        decoded = next((item for item in decoded if isinstance(item, dict)), None)
    error = decoded.get("error") if isinstance(decoded, dict) else None
    return error if isinstance(error, dict) else None


def upstream_error(route: Route, status: int, error: Mapping[str, Any] | None, retry_after: str | None = None) -> TollwayError:
    """The error to raise for an upstream's answer that is one. Writes the line that the operator needs.

    `status` is the HTTP status, or 200 for an error within a stream; `error` the upstream's error object, if it sent one;
    `retry_after` its header.
    """
    error = error or {}
    if status == 200:
        code = error.get("code")
        status = code if isinstance(code, int) and 400 <= code <= 599 else 502
    canonical, text, details = str(error.get("status", "")), str(error.get("message", "")), _dicts(error.get("details"))
    about, delay = _About(route.answers_as, status, canonical, text, details), _delay(details, retry_after)
    raised = _operators_problem(about) or _busy(about, delay) or _callers_problem(about) or _failure(about, delay)
    level = log.error if raised.code in ("upstream_refused", "upstream_quota_exhausted") else log.warning
    level(
        "upstream_error",
        upstream=route.upstream.name,
        upstream_model=route.upstream_model,
        status=status,
        upstream_status=route.upstream.without_key(canonical)[:80],
        text=route.upstream.without_key(text)[:LOGGED_CHARS_MAX],
        answered=raised.status,
        code=raised.code,
    )
    return raised


def connection_error(route: Route, problem: Exception) -> TollwayError:
    """The error to raise for a connection that could not be made, or broke."""
    log.warning(
        "upstream_away",
        upstream=route.upstream.name,
        upstream_model=route.upstream_model,
        problem=type(problem).__name__,
        text=route.upstream.without_key(str(problem))[:LOGGED_CHARS_MAX],
    )
    model = route.answers_as
    if isinstance(problem, CannotConnect):
        return ServiceUnavailable(f"The upstream of the model `{model}` cannot be reached. Try again in a moment.")
    if isinstance(problem, TimeoutError):
        return GatewayTimeout(f"The upstream of the model `{model}` took too long.")
    return BadGateway(f"The connection to the upstream of the model `{model}` broke. Try again.")


class _About(NamedTuple):
    """What an upstream's error says."""

    model: str
    status: int
    canonical: str
    """Google's own name of the status, such as `RESOURCE_EXHAUSTED`."""
    text: str
    details: list[dict[str, Any]]


def _operators_problem(about: _About) -> TollwayError | None:
    """A bad key, a project without billing, a model that is gone: asking the same upstream again will not help."""
    bad_key = any(str(detail.get("reason", "")).startswith("API_KEY") for detail in about.details)
    refused = about.status in (401, 402, 403, 404, 405) or about.canonical == "FAILED_PRECONDITION"
    if not refused and not (about.status == 400 and (bad_key or _BAD_KEY.match(about.text))):
        return None
    error = BadGateway(
        f"The upstream of the model `{about.model}` does not accept this service's access. This is for the operator to mend; "
        "your request and your API key are not the cause.",
        code="upstream_refused",
        retry_after_seconds=REFUSED_SECONDS,
    )
    error.of_model = about.status == 404 or (about.status == 403 and _MODEL.search(about.text) is not None)
    return error


def _busy(about: _About, delay_seconds: int | None) -> TollwayError | None:
    if about.status != 429:
        return None
    violations = [violation for detail in about.details for violation in _dicts(detail.get("violations"))]
    if any("PerDay" in str(violation.get("quotaId", "")) for violation in violations):
        return ServiceUnavailable(
            f"The upstream of the model `{about.model}` takes no more requests of this service today.",
            code="upstream_quota_exhausted",
            retry_after_seconds=delay_seconds or 3600,
        )
    return RateLimited(
        f"The upstream of the model `{about.model}` is taking as many requests as it allows. Try again in a moment.",
        retry_after_seconds=delay_seconds or 10,
    )


def _callers_problem(about: _About) -> TollwayError | None:
    if about.status == 413:
        return PayloadTooLarge(f"The request is too large for the model `{about.model}`. Shorten the messages.")
    if about.status != 400:
        return None
    if _TOO_LONG.search(about.text):
        return ContextLengthExceeded(
            f"The messages take more tokens than the model `{about.model}` has context for. Shorten them.", param="messages"
        )
    said = " ".join(
        [str(violation.get("field", "")) for detail in about.details for violation in _dicts(detail.get("fieldViolations"))]
        + [about.text]
    )
    param = next((param for pattern, param in _PARAMETERS if pattern.search(said)), None)
    if "not enabled for" in about.text or "not supported for" in about.text or "is unsupported" in about.text:
        what = f"`{param}`" if param else "a parameter of this request"
        return UnsupportedParameter(f"The model `{about.model}` does not support {what} as it is used here.", param=param)
    where = f" at `{param}`" if param else ""
    return InvalidRequest(
        f"The model `{about.model}` did not accept this request{where}. Check what is given there.", param=param
    )


def _failure(about: _About, delay_seconds: int | None) -> TollwayError:
    if about.status == 503:
        return ServiceUnavailable(
            f"The upstream of the model `{about.model}` is overloaded or away. Try again in a moment.",
            retry_after_seconds=delay_seconds or 5,
        )
    if about.status in (408, 504):
        return GatewayTimeout(f"The upstream of the model `{about.model}` took too long.")
    return BadGateway(f"The upstream of the model `{about.model}` failed. Try again.", retry_after_seconds=delay_seconds)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _delay(details: list[dict[str, Any]], header: str | None) -> int | None:
    """Whole seconds until it makes sense to ask again; None where the upstream says nothing that can be understood."""
    stated = [_DELAY.fullmatch(str(detail.get("retryDelay", ""))) for detail in details]
    seconds = next((math.ceil(float(match[1])) for match in stated if match), None)
    if seconds is None and header is not None and _SECONDS.fullmatch(header.strip()):
        seconds = int(header)
    return None if seconds is None else min(max(seconds, 1), RETRY_AFTER_SECONDS_MAX)
