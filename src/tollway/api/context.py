"""What is known of one request while it is answered."""

from starlette.types import Scope

from tollway.accounts import Caller
from tollway.api.services import Services

UNMATCHED = "unmatched"
"""The route of a request for a path that is not ours: one label for all, or a scan would flood the metrics."""


class RequestContext:
    """Made by the middleware, filled by the routing. Get it with `context_of(scope)`."""

    __slots__ = ("_caller", "client_request_id", "cors", "request_id", "route", "services")

    def __init__(self, services: Services, request_id: str) -> None:
        self.services = services
        self.request_id = request_id
        self.client_request_id: bytes | None = None
        self.route = UNMATCHED
        """The path template of the endpoint, for logs and metrics."""
        self.cors = True
        """Whether pages of other origins may read the answer."""
        self._caller: Caller | None = None

    @property
    def caller(self) -> Caller:
        """Who sends the request. A LookupError in an endpoint whose row in the table says that it needs no key."""
        if self._caller is None:
            raise LookupError("this endpoint does not authenticate")
        return self._caller

    @property
    def caller_or_none(self) -> Caller | None:
        return self._caller

    def authenticated(self, caller: Caller) -> None:
        self._caller = caller


def context_of(scope: Scope) -> RequestContext:
    context: RequestContext = scope["tollway"]
    return context
