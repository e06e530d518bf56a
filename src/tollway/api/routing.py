"""From the table of endpoints to an ASGI application.

Authentication happens here, from the table: an endpoint whose row asks for a key cannot be reached without one.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from tollway.accounts import Caller
from tollway.api.context import context_of
from tollway.api.middleware import RequestMiddleware
from tollway.api.services import Services
from tollway.api.sessions import csrf_header, refuse_other_origins, session_token
from tollway.api.table import Auth
from tollway.errors import Forbidden, MethodNotAllowed, NotFound

Handler = Callable[[Request, Services], Awaitable[Response]]


class Row(Protocol):
    """What routing has to know of an endpoint or of a page."""

    @property
    def method(self) -> str: ...
    @property
    def paths(self) -> tuple[str, ...]: ...
    @property
    def handler(self) -> ASGIApp: ...
    @property
    def auth(self) -> Auth: ...
    @property
    def sessions(self) -> bool: ...
    @property
    def cors(self) -> bool: ...


def responding(handler: Handler) -> ASGIApp:
    """An ASGI callable of a function from request to response."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handler(Request(scope, receive), context_of(scope).services)
        await response(scope, receive, send)

    return app


async def not_found(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """What answers where no row does."""
    raise NotFound(
        "There is nothing at this path. `/openapi.json` lists all endpoints; an OpenAI client's base URL ends in /v1."
    )


def build(rows: Iterable[Row], services: Services, *, lifespan: Any = None, default: ASGIApp = not_found) -> ASGIApp:
    """The whole HTTP side: middleware around routes. `lifespan` is Starlette's; `default` answers where there is no row."""
    by_path: dict[str, dict[str, Row]] = {}
    for row in rows:
        for path in row.paths:
            methods = by_path.setdefault(path, {})
            methods[row.method] = row
            if row.method == "GET":
                methods["HEAD"] = row
    endpoints = {path: _Path(path, methods) for path, methods in by_path.items()}
    routes = [Route(path, endpoint) for path, endpoint in endpoints.items()]
    router = Router(routes, redirect_slashes=False, default=default, lifespan=lifespan)
    fixed = {path: endpoint for path, endpoint in endpoints.items() if "{" not in path}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # a path without parameters is looked up, not matched: the hot one would otherwise pass dozens of patterns
        found: ASGIApp = fixed.get(scope["path"], router) if scope["type"] == "http" else router
        if found is router and "\0" in scope.get("path", ""):
            found = default  # nothing has such a name, and PostgreSQL would not even look for it
        await found(scope, receive, send)

    return RequestMiddleware(app, services)


class _Path:
    """The endpoints of one path, by method."""

    def __init__(self, path: str, endpoints: dict[str, Row]) -> None:
        self._endpoints = endpoints
        self._template = path.replace(":path}", "}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        context.route = self._template
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is None:
            allowed = sorted(self._endpoints)
            raise MethodNotAllowed(
                f"This path takes {' or '.join(allowed)}, not {scope['method'][:20]}.", data={"allowed": allowed}
            )
        context.cors = endpoint.cors
        if endpoint.auth is not Auth.NONE:
            caller = await authenticate(scope, context.services, sessions=endpoint.sessions)
            context.authenticated(caller)
            if endpoint.auth is Auth.MANAGEMENT and not caller.management:
                raise Forbidden(
                    f"This needs a management key, and {caller.key_prefix}... is an API key. "
                    "`tollway keys create --management` makes one.",
                    data={"kind": "err_management_key_required"},
                )
        await endpoint.handler(scope, receive, send)


async def authenticate(scope: Scope, services: Services, *, sessions: bool = False) -> Caller:
    """The caller that the request proves. Raises Unauthorized; with `sessions` Forbidden, too.

    A session counts only where there is no Authorization header, and only in a request that one of our own pages sent.
    """
    header: str | None = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            # two of them are nobody's intention; joined they are refused as malformed
            header = value.decode("latin-1") if header is None else f"{header}, {value.decode('latin-1')}"
    if header is None and sessions and (csrf := csrf_header(scope)) is not None:
        refuse_other_origins(scope, services.settings.public_url)
        return await services.people.caller(session_token(scope), csrf)  # the cookie goes with the session, the page stays
    return await services.accounts.authenticate(header)
