"""What is no request of HTTP."""

import msgspec
from structlog.testing import capture_logs

from tollway.api.refusals import refusal


def test_the_log_says_why_under_the_id_that_the_caller_is_given() -> None:
    with capture_logs() as logs:
        headers, body = refusal(431, "The head is too long.")
    given = dict(headers)[b"x-request-id"].decode()
    assert msgspec.json.decode(body)["requestId"] == given
    (line,) = logs
    assert line == {
        "event": "request_refused",
        "log_level": "info",
        "status": 431,
        "reason": "The head is too long.",
        "request_id": given,
    }
