"""From the table of endpoints to an ASGI application.

Authentication happens here, from the table: an endpoint whose row asks for a key cannot be reached without one.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Send

from tollway.accounts import Caller
from tollway.api.context import Scope, context_of
from tollway.api.middleware import RequestMiddleware
from tollway.api.services import Services
from tollway.api.table import Auth, Endpoint
from tollway.errors import Forbidden, MethodNotAllowed, NotFound

Handler = Callable[[Request, Services], Awaitable[Response]]


def responding(handler: Handler) -> ASGIApp:
    """An ASGI callable of a function from request to response."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handler(Request(scope, receive), context_of(scope).services)
        await response(scope, receive, send)

    return app


def build(endpoints: Iterable[Endpoint], services: Services, *, lifespan: Any = None) -> ASGIApp:
    """The whole HTTP side: middleware around routes. `lifespan` is Starlette's."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        for path in endpoint.paths:
            methods = by_path.setdefault(path, {})
            methods[endpoint.method] = endpoint
            if endpoint.method == "GET":
                methods["HEAD"] = endpoint
    routes = [Route(path, _Path(path, methods)) for path, methods in by_path.items()]
    router = Router(routes, redirect_slashes=False, default=_not_found, lifespan=lifespan)
    return RequestMiddleware(router, services)


class _Path:
    """The endpoints of one path, by method."""

    def __init__(self, path: str, endpoints: dict[str, Endpoint]) -> None:
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
            caller = await authenticate(scope, context.services)
            context.authenticated(caller)
            if endpoint.auth is Auth.MANAGEMENT and not caller.management:
                raise Forbidden(
                    f"This needs a management key, and {caller.key_prefix}... is an API key. "
                    "`tollway keys create --management` makes one.",
                    data={"kind": "err_management_key_required"},
                )
        await endpoint.handler(scope, receive, send)


async def authenticate(scope: Scope, services: Services) -> Caller:
    """The caller that the request proves. Raises Unauthorized."""
    header: str | None = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            # two of them are nobody's intention; joined they are refused as malformed
            header = value.decode("latin-1") if header is None else f"{header}, {value.decode('latin-1')}"
    return await services.accounts.authenticate(header)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})
        return
    raise NotFound(
        "There is nothing at this path. `/openapi.json` lists all endpoints; an OpenAI client's base URL ends in /v1."
    )
