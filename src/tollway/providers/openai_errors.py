"""What an OpenAI-compatible upstream answers instead of an answer, as Tollway's errors.

Callers learn whose fault it is and, where it is theirs, which parameter. They never see the upstream's own text: it may quote
keys, addresses, prices and other customers' limits, and only the operator can act on it. So it goes to the log, and the caller
gets a sentence of ours. What a caller can act on passes as data: the parameter, if it is one of ours, and a code of OpenAI's
vocabulary.
"""

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from tollway import clock
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
from tollway.wire.chat import ChatRequest

log = structlog.get_logger()

LOGGED_CHARS_MAX = 500
RETRY_AFTER_SECONDS_MAX = 3600
# Nothing gets better before the operator acts; a figure this long also keeps anybody from trying again at once.
OPERATOR_SECONDS = 300

# Codes and kinds that mean the operator's account, key or configuration, whatever the status is.
_OPERATORS = frozenset({
    "access_terminated_error", "account_deactivated", "authentication_error", "billing_hard_limit_reached",
    "billing_not_active", "deactivated_workspace", "err_insufficent_credits", "exceeded_current_quota_error",
    "insufficient_balance", "insufficient_quota", "invalid_api_key", "invalid_organization", "model_not_available",
    "model_not_found", "notfounderror", "not_found_error", "permission_error", "unsupported_country_region_territory",
})  # fmt: skip
# Of those, the ones that say it of one model.
_OF_MODEL = frozenset({"model_not_available", "model_not_found", "notfounderror", "not_found_error"})
_QUOTA = frozenset({
    "billing_hard_limit_reached", "billing_not_active", "err_insufficent_credits", "exceeded_current_quota_error",
    "insufficient_balance", "insufficient_quota",
})  # fmt: skip
# What stands in no code. At the beginning only: further on a text may quote the caller, who could make everybody wait.
_BAD_KEY = re.compile(
    r"((missing|incorrect|invalid|expired|no)( or invalid)? )?(api[ _-]?key|authorization header)\b", re.IGNORECASE
)
_NO_CREDIT = re.compile(r"your credit balance is too low|insufficient (account )?balance", re.IGNORECASE)
# Codes that pass: what they say is about the request.
_CALLERS = frozenset({
    "array_above_max_length", "content_filter", "content_policy_violation", "decimal_above_max_value",
    "decimal_below_min_value", "image_parse_error", "integer_above_max_value", "integer_below_min_value",
    "invalid_base64_image", "invalid_function_parameters", "invalid_image", "invalid_image_format", "invalid_image_url",
    "invalid_json_schema", "invalid_prompt", "invalid_type", "invalid_value", "missing_required_parameter",
    "string_above_max_length", "tool_use_failed", "unknown_parameter", "unsupported_value",
})  # fmt: skip
_OF_CONTENT = frozenset({"content_filter", "content_policy_violation"})
# Parameters that we set, not the caller; a refusal of them is the quirks' or the route's fault.
_OURS = frozenset({"model", "stream", "stream_options"})
_PARAM = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]-]{0,199}")
_MODEL = re.compile(r"\bmodel\b", re.IGNORECASE)
# "context the overflows" is how LM Studio words it.
_CONTEXT = re.compile(
    r"context[ _-](length|window|size)|context the overflows|maximum (context|prompt|input|model) length|"
    r"(prompt|input) is too long|(prompt|input)( \w+){0,4} (is|are|was) (longer|larger) than|too many (input |prompt )?tokens|"
    r"too large for model with|input token count|max_new_tokens`? must be",
    re.IGNORECASE,
)
# What the model, or the way that it is served, does not do, and the parameter that asks for it; no code says so.
_UNABLE = (
    (re.compile(r"(?i)support the provided 'tool_choice'"), "let a call be forced", "tool_choice"),
    (
        re.compile(
            r"(?i)not support tools|support tool use|tool choice requires|tools param requires|^function calling is not"
        ),
        "call functions",
        "tools",
    ),
    (
        re.compile(r"(?i)support image input|image input (modality )?is not|not a multimodal model|at most 0 image"),
        "take images",
        "messages",
    ),
)


class Refusal(Struct):
    """The parts of an upstream's error object that are understood, from whichever place they stand in."""

    text: str = ""
    code: str = ""
    kind: str = ""
    param: str | None = None
    status: int | None = None
    """The HTTP status that the object itself names."""
    flagged: bool = False
    """The upstream's moderation refused the caller's text."""


def failed_answer(route: Route, status: int, headers: Mapping[str, str], body: bytes) -> TollwayError:
    """The error for an answer that is no stream: any status but 200, or a 200 with something else in it."""
    try:
        found: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    refusal = read_refusal(found)
    meant = (refusal.status or 502) if status == 200 else status
    error = _error(route, meant, refusal, retry_after_seconds(headers))
    is_answer = isinstance(found, Mapping) and "choices" in found  # which is not for the log
    text = refusal.text or ("a whole answer instead of a stream" if is_answer else body.decode(errors="replace"))
    _log(error, route, refusal, text, status=status, request_id=headers.get("x-request-id", ""))
    return error


def failed_stream(route: Route, error: object, *, begun: bool) -> TollwayError:
    """The error for an error object in the stream. What has begun cannot be blamed on the caller any more."""
    refusal = read_refusal(error)
    failure: TollwayError = BadGateway("The model's upstream broke off its answer.")
    if not begun:
        failure = _error(route, refusal.status or _status_of_kind(refusal), refusal, None)
    _log(failure, route, refusal, refusal.text)
    return failure


def failed_connection(route: Route, problem: Exception, *, begun: bool) -> TollwayError:
    """The error for a connection that could not be made, or broke."""
    log.error(
        "upstream_away",
        upstream=route.upstream.name,
        model=route.upstream_model,
        problem=type(problem).__name__,
        text=route.upstream.without_key(str(problem))[:LOGGED_CHARS_MAX],
        begun=begun,
    )
    if begun:
        return BadGateway("The connection to the model's upstream broke off.")
    if isinstance(problem, TimeoutError):
        return GatewayTimeout("The model's upstream did not answer in time.")
    if isinstance(problem, CannotConnect):
        return ServiceUnavailable("The model's upstream cannot be reached at the moment.")
    return BadGateway("The model's upstream gave no answer.")


def retry_after_seconds(headers: Mapping[str, str]) -> int | None:
    """How long to wait by the headers Retry-After-Ms or Retry-After (seconds or a date); None = it does not say.

    The names in `headers` are in lower case.
    """
    milliseconds, seconds = headers.get("retry-after-ms", ""), headers.get("retry-after", "").strip()
    try:
        if milliseconds:
            wait = float(milliseconds) / 1000
        elif seconds[:1].isdigit():
            wait = float(seconds)
        else:
            wait = parsedate_to_datetime(seconds).timestamp() - clock.now()
        return min(max(math.ceil(wait), 1), RETRY_AFTER_SECONDS_MAX)
    except (ValueError, TypeError, OverflowError):
        return None


# --- reading it -------------------------------------------------------------------------------------------------------


def read_refusal(found: object) -> Refusal:
    """The error object in any of the shapes in use.

    `{"error": {...}}`, `{"error": "text"}`, the object itself, one of these in an array, and FastAPI's
    `{"detail": [{"loc": ["body", "temperature"], "msg": ..., "type": ...}]}`, also inside `message`.
    """
    if isinstance(found, list) and found:
        found = found[0]
    if isinstance(found, str):
        return Refusal(text=found)
    if not isinstance(found, Mapping):
        return Refusal()
    inner = found.get("error")
    if isinstance(inner, Mapping | list):
        return read_refusal(inner)
    message = found.get("message", inner)
    details = found.get("detail") or (message.get("detail") if isinstance(message, Mapping) else None)
    if isinstance(details, list) and details and isinstance(details[0], Mapping):
        return _read_detail(details[0])
    code, data, metadata = found.get("code"), found.get("data"), found.get("metadata")
    if isinstance(data, Mapping) and isinstance(data.get("kind"), str):
        code = data["kind"]
    status = code if type(code) is int and 400 <= code <= 599 else found.get("status")
    text = message if isinstance(message, str) else (details if isinstance(details, str) else str(message or ""))
    param = found.get("param")
    return Refusal(
        text=text,
        code=code.lower() if isinstance(code, str) else "",
        kind=str(found.get("type") or "").lower(),
        param=param if isinstance(param, str) else None,
        status=status if type(status) is int and 400 <= status <= 599 else None,
        flagged=isinstance(metadata, Mapping) and ("flagged_input" in metadata or bool(metadata.get("reasons"))),
    )


def _read_detail(detail: Mapping[str, Any]) -> Refusal:
    place = detail.get("loc")
    steps = [step for step in place if step != "body"] if isinstance(place, list) else []
    param = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    kind = str(detail.get("type") or "")
    code = {"missing": "missing_required_parameter", "extra_forbidden": "unknown_parameter"}.get(kind, "invalid_value")
    return Refusal(text=str(detail.get("msg") or ""), code=code, kind="invalid_request_error", param=param or None)


# --- judging it -------------------------------------------------------------------------------------------------------


def _error(route: Route, status: int, refusal: Refusal, retry_after: int | None) -> TollwayError:
    known = {refusal.code, refusal.kind}
    if known & _QUOTA or status == 402 or (status == 400 and _NO_CREDIT.match(refusal.text)):
        return ServiceUnavailable(
            "The model's upstream does not serve this installation at the moment. Its operator has to act.",
            code="upstream_quota_exhausted",
            retry_after_seconds=retry_after or OPERATOR_SECONDS,
        )
    if status == 403 and refusal.flagged:
        return InvalidRequest(
            "The model's upstream refuses the content of this request.", param="messages", code="content_policy_violation"
        )
    if status in (400, 404, 422, 500, 501):
        for words, what, param in _UNABLE:
            if words.search(refusal.text[:2000]):
                return UnsupportedParameter(f"The model `{route.answers_as}` does not {what}.", param=param)
    if status in (401, 403, 404, 405) or 300 <= status < 400 or known & _OPERATORS:
        return _operators_error(of_model=_is_about_model(status, refusal))
    if status == 400 and _BAD_KEY.match(refusal.text):
        return _operators_error(of_model=False)
    if status in (400, 413, 422):
        return _callers_error(route, status, refusal)
    if status == 429:
        return RateLimited(
            "The model's upstream takes no more requests at the moment. Try again later.", retry_after_seconds=retry_after
        )
    if status in (408, 504):
        return GatewayTimeout("The model's upstream did not answer in time.", retry_after_seconds=retry_after)
    if status in (503, 529):
        return ServiceUnavailable("The model's upstream is not available at the moment.", retry_after_seconds=retry_after)
    return BadGateway("The model's upstream failed on this request.", retry_after_seconds=retry_after)


def _operators_error(*, of_model: bool) -> BadGateway:
    message = "The model's upstream refuses this installation's requests. Its operator has to act."
    error = BadGateway(message, code="upstream_refused", retry_after_seconds=OPERATOR_SECONDS)
    error.of_model = of_model
    return error


def _is_about_model(status: int, refusal: Refusal) -> bool:
    """Whether what the operator has to mend is one model's: it is gone, or not for this key."""
    if status == 404 or {refusal.code, refusal.kind} & _OF_MODEL:
        return True
    return status == 403 and (refusal.param == "model" or _MODEL.search(refusal.text[:2000]) is not None)


def _callers_error(route: Route, status: int, refusal: Refusal) -> TollwayError:
    if _is_about_context(refusal):
        return ContextLengthExceeded(
            f"The messages and the answer's upper bound do not fit into the model's context of {route.context_tokens} tokens. "
            "Shorten the messages or lower `max_completion_tokens`.",
            param="messages",
            data={"context_tokens": route.context_tokens},
        )
    if status == 413:
        return PayloadTooLarge("The request is larger than the model's upstream takes. Shorten the messages.")
    param = _callers_parameter(refusal.param, route)
    is_unknown = refusal.code in {"unsupported_parameter", "unknown_parameter"}
    if param in _OURS or (param == "max_tokens" and is_unknown):  # every upstream has a limit; the quirk has the wrong name
        return _operators_error(of_model=param in {"model", "max_tokens"})
    code = refusal.code if refusal.code in _CALLERS else None
    subject = f"The model `{route.answers_as}` refuses"
    if param is None:
        what = "the content of this request" if code in _OF_CONTENT else "this request as invalid"
        return InvalidRequest(f"{subject} {what}.", code=code)
    if is_unknown:
        return UnsupportedParameter(f"{subject} `{param}`: it does not support this parameter.", param=param)
    if refusal.code == "unsupported_value":
        return UnsupportedParameter(f"{subject} this value of `{param}`: it does not support it.", param=param, code=code)
    return InvalidRequest(f"{subject} the value of `{param}`.", param=param, code=code)


def _is_about_context(refusal: Refusal) -> bool:
    if {refusal.code, refusal.kind} & {"context_length_exceeded", "exceed_context_size_error"}:
        return True
    return _CONTEXT.search(refusal.text[:2000]) is not None


def _callers_parameter(param: str | None, route: Route) -> str | None:
    """The upstream's parameter under our name, if it is a path into one of ours; else None."""
    if param is None or not _PARAM.fullmatch(param):
        return None
    first = re.split(r"[.\[]", param)[0]
    quirks = route.upstream.quirks
    ours = {upstream: our for our, upstream in quirks.parameter_names.items()} | {quirks.max_tokens_field: "max_tokens"}
    name = ours.get(first, first)
    taken = name in ChatRequest.__struct_fields__ or quirks.takes(name)
    return name + param[len(first) :] if taken else None


def _status_of_kind(refusal: Refusal) -> int:
    """The status that an error without one would have had."""
    known = f"{refusal.code} {refusal.kind}"
    for word, status in (("rate_limit", 429), ("overloaded", 503), ("unavailable", 503), ("timeout", 504), ("invalid_", 400)):
        if word in known:
            return status
    return 400 if _is_about_context(refusal) else 502


# --- for the operator -------------------------------------------------------------------------------------------------


def _log(
    error: TollwayError, route: Route, refusal: Refusal, text: str, *, status: int | None = None, request_id: str = ""
) -> None:
    """What the upstream said, in its own words. A caller's mistake wakes nobody."""
    tell = log.warning if isinstance(error, InvalidRequest) else log.error
    clean = route.upstream.without_key
    tell(
        "upstream_refused",
        upstream=route.upstream.name,
        model=route.upstream_model,
        status=status,
        code=clean(refusal.code)[:80] or None,
        type=clean(refusal.kind)[:80] or None,
        param=clean(refusal.param)[:200] if refusal.param else None,
        text=clean(text)[:LOGGED_CHARS_MAX],
        upstream_request_id=clean(request_id)[:80] or None,
    )
