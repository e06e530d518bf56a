"""Every error that a caller can meet, as one tree.

    TollwayError                          status  error.type               error.code
    ├── InvalidRequest                    400     invalid_request_error    invalid_value (or a closer one)
    │   ├── UnsupportedParameter          400     invalid_request_error    unsupported_parameter
    │   ├── ContextLengthExceeded         400     invalid_request_error    context_length_exceeded
    │   ├── NotFound                      404     invalid_request_error    not_found
    │   │   └── ModelNotFound             404     invalid_request_error    model_not_found
    │   ├── MethodNotAllowed              405     invalid_request_error    method_not_allowed
    │   ├── RequestTimeout                408     invalid_request_error    request_timeout
    │   ├── Conflict                      409     invalid_request_error    conflict
    │   ├── UnprocessableRequest          422     invalid_request_error    unprocessable_request
    │   ├── PayloadTooLarge               413     invalid_request_error    payload_too_large
    │   ├── UnsupportedMediaType          415     invalid_request_error    unsupported_media_type
    │   └── HeadersTooLarge               431     invalid_request_error    headers_too_large
    ├── Unauthorized                      401     authentication_error     invalid_api_key
    ├── Forbidden                         403     permission_error         permission_denied
    │   ├── InsufficientCredits           403     permission_error         insufficient_quota
    │   └── SpendLimitReached             403     permission_error         spend_limit_reached
    ├── RateLimited                       429     rate_limit_error         rate_limit_exceeded
    ├── InternalError                     500     server_error             internal_error
    ├── BadGateway                        502     server_error             upstream_error
    ├── ServiceUnavailable                503     server_error             service_unavailable
    │   └── StorageUnavailable            503     server_error             storage_unavailable
    └── GatewayTimeout                    504     server_error             upstream_timeout

The tree is also the documentation: `docs/errors.md` is generated from it. A class owns status, type and code; an instance
owns the sentence, the parameter and the data.
"""

from typing import Any, ClassVar


class TollwayError(Exception):
    """Base of all errors that reach a caller.

    `message` says what was wrong, where, and what to do; it must never hold a secret or an upstream's own text.
    `param` is the path of the offending parameter, such as `messages[0].content`.
    `retry_after_seconds` becomes the Retry-After header; `headers` are sent besides.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str] = "internal_error"
    name: ClassVar[str] = "InternalServerErrorException"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        data: dict[str, Any] | None = None,
        retry_after_seconds: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.data = data
        self.retry_after_seconds = retry_after_seconds
        self.headers = headers or {}


class InvalidRequest(TollwayError):
    """The request is wrong as written; sending it again will not help."""

    status = 400
    type = "invalid_request_error"
    default_code = "invalid_value"
    name = "BadRequestException"


class UnsupportedParameter(InvalidRequest):
    """A known parameter that the model's route cannot honour and that would change the meaning of the answer."""

    default_code = "unsupported_parameter"


class ContextLengthExceeded(InvalidRequest):
    """The prompt does not fit into the model's context."""

    default_code = "context_length_exceeded"


class NotFound(InvalidRequest):
    """No such path or object; also said of objects that belong to somebody else."""

    status = 404
    default_code = "not_found"
    name = "NotFoundException"


class ModelNotFound(NotFound):
    """The model is not served here."""

    default_code = "model_not_found"


class MethodNotAllowed(InvalidRequest):
    """The path exists, with other methods."""

    status = 405
    default_code = "method_not_allowed"
    name = "MethodNotAllowedException"


class RequestTimeout(InvalidRequest):
    """The body came too slowly: `receive_seconds` is what it may take, and a second more for every 10 kB."""

    status = 408
    default_code = "request_timeout"
    name = "RequestTimeoutException"


class Conflict(InvalidRequest):
    """The request collides with another one that is in work or done."""

    status = 409
    default_code = "conflict"
    name = "ConflictException"


class UnprocessableRequest(InvalidRequest):
    """The request is well-formed, but it contradicts an earlier one."""

    status = 422
    default_code = "unprocessable_request"
    name = "UnprocessableEntityException"


class PayloadTooLarge(InvalidRequest):
    """The body is larger than `body_bytes_max`."""

    status = 413
    default_code = "payload_too_large"
    name = "PayloadTooLargeException"


class UnsupportedMediaType(InvalidRequest):
    """The body is not plain `application/json`."""

    status = 415
    default_code = "unsupported_media_type"
    name = "UnsupportedMediaTypeException"


class HeadersTooLarge(InvalidRequest):
    """The request's first line and headers are more than 128 KiB, or more than 128 lines."""

    status = 431
    default_code = "headers_too_large"
    name = "RequestHeaderFieldsTooLargeException"


class Unauthorized(TollwayError):
    """The API key is missing, malformed, unknown, disabled, expired or deleted."""

    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"
    name = "UnauthorizedException"


class Forbidden(TollwayError):
    """The key is good, but may not do this."""

    status = 403
    type = "permission_error"
    default_code = "permission_denied"
    name = "ForbiddenException"


class NotAffordable(Forbidden):
    """What the request may cost is not covered. `available` are the credits that are left for it."""

    available = 0

    def offer(self, max_tokens: int, parameter: str) -> None:
        """Tells the `max_tokens` that the credits would cover. `parameter` is what the request calls it."""
        self.data = {**(self.data or {}), "max_tokens_affordable": max_tokens}
        if max_tokens:
            self.message = f"{self.message} `{parameter}: {max_tokens}` would fit."


class InsufficientCredits(NotAffordable):
    """The account's credits do not cover what the request may cost. `error.data` tells what is needed, and what would fit."""

    default_code = "insufficient_quota"

    def __init__(self, *, needed: int, available: int, left: int) -> None:
        """`left` are those of the available ones that the key's own limit leaves."""
        message = (
            f"You've run out of credits: this request may cost up to {needed:,} credits, and {available:,} are available. "
            "Add credits, or ask for less."
        )
        # spelt as the platform spells it
        data = {"kind": "err_insufficent_credits", "credits_needed": needed, "credits_available": available}
        super().__init__(message, data=data)
        self.available = left


class SpendLimitReached(NotAffordable):
    """The key's own spend limit does not cover what the request may cost."""

    default_code = "spend_limit_reached"

    def __init__(self, *, needed: int, available: int, limit: str) -> None:
        """`limit` in words, such as `2,000,000 credits a day`."""
        message = (
            f"This API key may spend {limit}; {available:,} are left, and this request may cost up to {needed:,}. "
            "Raise the key's limit, or ask for less."
        )
        data = {"kind": "err_key_spend_limit", "credits_needed": needed, "credits_available": available}
        super().__init__(message, data=data)
        self.available = available


class RateLimited(TollwayError):
    """More work than the limits or the queue allow; try again after Retry-After."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"
    name = "TooManyRequestsException"


class InternalError(TollwayError):
    """A fault of ours; the request id leads to the log line."""


class BadGateway(TollwayError):
    """The upstream answered with something that is no answer."""

    status = 502
    default_code = "upstream_error"
    name = "BadGatewayException"
    of_model = False
    """It is about one of the upstream's models, such as one that is gone, and says nothing of the others."""


class ServiceUnavailable(TollwayError):
    """The engine or upstream is away for the moment; try again after Retry-After."""

    status = 503
    default_code = "service_unavailable"
    name = "ServiceUnavailableException"


class StorageUnavailable(ServiceUnavailable):
    """The database cannot be reached or written for the moment; try again after Retry-After."""

    default_code = "storage_unavailable"

    def __init__(self, *, reason: str) -> None:
        """`reason` is for the operator: it is in `str(error)`, and never in an answer."""
        message = "The service cannot reach or write its database at the moment. Try again."
        super().__init__(message, retry_after_seconds=2)
        self.reason = reason

    def __str__(self) -> str:
        return f"The database cannot be used at the moment. {self.reason}"


class GatewayTimeout(TollwayError):
    """The upstream took longer than its time limit."""

    status = 504
    default_code = "upstream_timeout"
    name = "GatewayTimeoutException"
