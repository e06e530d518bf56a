"""What every page has: who visits, the template around it, and the headers that keep strangers' code out.

No page has a script or a style inside of it, so the policy allows neither: what a model, a name or a URL smuggles into the
HTML cannot run, even where escaping would fail.
"""

import functools
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import jinja2
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send

from tollway import __version__
from tollway.api.context import Scope, context_of
from tollway.api.errors import as_tollway_error, error_headers
from tollway.api.services import Services
from tollway.errors import TollwayError
from tollway.web import assets, display, icons

if TYPE_CHECKING:
    from tollway.web.table import Access

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")

log = structlog.get_logger(__name__)


class Visit:
    """One request for a page: what handlers read of it, and how they answer."""

    def __init__(self, request: Request, services: Services) -> None:
        self.request = request
        self.services = services

    @property
    def origin(self) -> str:
        """The address of this service as the visitor wrote it, such as `http://127.0.0.1:8080`."""
        settings = self.services.settings
        host = self.request.headers.get("host", "")
        if not _HOST.fullmatch(host):  # it is shown and linked: anything odd is not
            host = f"{settings.host}:{settings.port}"
        return f"{self.request.url.scheme}://{host}"

    @property
    def theme(self) -> str:
        """`light` or `dark` when the visitor chose one; empty = as the device does."""
        theme = self.request.cookies.get("theme", "")
        return theme if theme in {"light", "dark"} else ""

    def query(self, name: str, length_max: int = 200) -> str:
        return self.request.query_params.get(name, "").strip()[:length_max]

    def render(self, template: str, *, status: int = 200, secret: bool = False, **values: Any) -> Response:
        """A page. `secret`: it shows something that no cache and no history may keep."""
        html = (
            environment()
            .get_template(template)
            .render(
                visit=self,
                origin=self.origin,
                base_url=f"{self.origin}/v1",
                path=self.request.url.path,
                version=__version__,
                **values,
            )
        )
        headers = SECURITY_HEADERS | {"cache-control": "no-store" if secret else "private, no-cache"}
        return Response(html, status_code=status, media_type="text/html", headers=headers)

    def text(self, content: str, media_type: str) -> Response:
        return Response(content, media_type=media_type, headers=SECURITY_HEADERS | {"cache-control": "private, no-cache"})

    def redirect(self, path: str) -> Response:
        """To one of our own pages, with GET."""
        return Response(status_code=303, headers=SECURITY_HEADERS | {"location": path, "cache-control": "no-store"})

    def error(self, error: TollwayError) -> Response:
        response = self.render(
            "error.html",
            status=error.status,
            secret=True,
            title=HTTPStatus(error.status).phrase,
            error=error,
            request_id=context_of(self.request.scope).request_id,
        )
        for name, value in error_headers(error):
            if name not in {b"content-type", b"cache-control", b"www-authenticate"}:
                response.headers[name.decode()] = value.decode()
        return response


def page_app(answer: Callable[[Visit], Awaitable[Response]], access: "Access") -> ASGIApp:  # noqa: ARG001
    """The ASGI callable of a page. What goes wrong inside is told as a page, too."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        context_of(scope).cors = False  # no other site may read a page
        visit = Visit(Request(scope, receive), context_of(scope).services)
        try:
            response = await answer(visit)
        except Exception as error:
            if not isinstance(error, TollwayError):
                log.exception("unexpected error", request_id=context_of(scope).request_id, route=context_of(scope).route)
            response = visit.error(as_tollway_error(error))
        await response(scope, receive, send)

    return app


@functools.cache
def environment() -> jinja2.Environment:
    """The templates. Everything is escaped; a name that is not there is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("tollway.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {"asset": assets.url, "icon": icons.icon}
    made.filters |= {"count": display.count, "money": display.money, "code": display.inline_code, "short": display.short_count}
    return made
