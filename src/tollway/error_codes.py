"""The codes that are closer than that of an error's class, each with what it means.

`docs/errors.md` is made of the tree in `errors.py` and of this table; a test finds the codes of the source that are not in it.
"""

from collections.abc import Mapping

from tollway.errors import (
    BadGateway,
    Conflict,
    Forbidden,
    GatewayTimeout,
    InvalidRequest,
    RateLimited,
    ServiceUnavailable,
    TollwayError,
    Unauthorized,
    UnprocessableRequest,
)

CLOSER: Mapping[type[TollwayError], Mapping[str, str]] = {
    InvalidRequest: {
        "invalid_json": "The body is not JSON, or empty; the message names the byte.",
        "missing_required_parameter": "A field is missing.",
        "unknown_parameter": "There is no such field; of the outermost of a chat completion only with `strict_parameters`.",
        "invalid_type": "The value is of another type than the field.",
        "invalid_json_schema": "The JSON schema of `response_format` or of a tool is no schema, or nothing fits it.",
        "invalid_image": "An image cannot be read, is of another type than PNG, JPEG, GIF and WEBP, or is too large.",
        "image_url_forbidden": "The URL of an image is neither a data URL nor one of https to a public address.",
        "image_fetch_failed": "The URL of an image led to no image.",
        "already_refunded": "The request was refunded before.",
        "content_filter": "The upstream refuses the content of the request.",
        "content_policy_violation": "The upstream refuses the content of the request.",
        "invalid_prompt": "The upstream refuses the messages.",
        "unsupported_value": "The upstream knows the parameter, but not this value of it.",
        "integer_above_max_value": "The upstream takes smaller numbers only.",
        "integer_below_min_value": "The upstream takes larger numbers only.",
        "decimal_above_max_value": "The upstream takes smaller numbers only.",
        "decimal_below_min_value": "The upstream takes larger numbers only.",
        "string_above_max_length": "The upstream takes shorter texts only.",
        "array_above_max_length": "The upstream takes shorter lists only.",
        "invalid_function_parameters": "The upstream refuses the JSON schema of a tool.",
        "tool_use_failed": "The upstream's model made a call that does not fit its tool. Sending the request again may help.",
        "image_parse_error": "The upstream cannot read an image.",
        "invalid_base64_image": "The upstream cannot read the base64 of an image.",
        "invalid_image_format": "The upstream does not take images of this type.",
        "invalid_image_url": "The upstream cannot use the URL of an image.",
    },
    Unauthorized: {
        "session_over": "The session of the pages is over; sign in again.",
        "wrong_password": "The email address or the password is wrong.",
        "disabled": "This person's sign-in is disabled.",
    },
    Forbidden: {
        "other_origin": "A request with the session of the pages did not come from one of them.",
        "form_too_old": "A form of the pages was made for another session, or not by them; reload the page.",
        "signup_closed": "Nobody can sign up here without an invitation.",
    },
    Conflict: {
        "idempotency_key_in_use": "The first request with this `Idempotency-Key` is still being answered; wait for it.",
        "idempotent_answer_too_large": "The first request with this `Idempotency-Key` was charged; its answer is too large.",
    },
    UnprocessableRequest: {
        "idempotency_key_reused": "This `Idempotency-Key` was used for another request; a new request takes a new one.",
    },
    RateLimited: {
        "engine_busy": "The engine has as many answers in work and waiting as it takes, or its memory is full with them.",
        "upstream_busy": "All upstreams of the model have as much work as they may.",
    },
    BadGateway: {
        "upstream_refused": "The upstream does not accept this service's access; only its operator can mend that.",
        "engine_error": "The engine failed on this request.",
        "engine_interrupted": "The engine ended before its answer was complete.",
    },
    ServiceUnavailable: {
        "engine_away": "The engine is being restarted.",
        "upstream_unavailable": "All upstreams of the model have been failing and are left alone for a moment.",
        "upstream_quota_exhausted": "The upstream takes no more requests of this service: its quota or balance is used up.",
        "hold_expired": "The server lost touch with its database, and the credits held were given back; nothing is charged.",
    },
    GatewayTimeout: {
        "total_time_exceeded": "The answer took longer than it may in all.",
        "read_too_slowly": "The client read the answer so slowly that it took longer than it may; what was made is charged.",
    },
}
