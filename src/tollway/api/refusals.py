"""What is answered to what is no request of HTTP, and never reaches the application: the shape of all other errors."""

import structlog

from tollway.api.errors import Headers, error_body, error_headers
from tollway.errors import HeadersTooLarge, InternalError, InvalidRequest, TollwayError
from tollway.ids import request_id

log = structlog.get_logger()


def refusal(status: int, message: str) -> tuple[Headers, bytes]:
    """Headers, but for the length, and body. The log has the request id that the caller is given."""
    error: TollwayError = InvalidRequest(message)
    if status == HeadersTooLarge.status:
        error = HeadersTooLarge(message)
    elif status >= 500:
        error = InternalError(message)
    made = request_id()
    log.info("request_refused", status=status, reason=message, request_id=made)
    return [*error_headers(error), (b"x-request-id", made.encode())], error_body(error, "", made)
