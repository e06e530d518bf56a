"""What every page has: who visits, the template around it, and the headers that keep strangers' code out.

No page has a script or a style inside of it, so the policy allows neither: what a model, a name or a URL smuggles into the
HTML cannot run, even where escaping would fail.
"""

import functools
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jinja2
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tollway import __version__, clock
from tollway.api.context import context_of
from tollway.api.errors import as_tollway_error, error_headers
from tollway.api.services import Services
from tollway.api.sessions import SESSION_COOKIE, session_token
from tollway.errors import Forbidden, TollwayError, Unauthorized
from tollway.ids import random_text
from tollway.money import exact_usd
from tollway.people import SESSION_SECONDS, Session
from tollway.storage.texts import is_storable
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
_VISITOR_COOKIE = "tollway_visitor"
_VISITOR_SECONDS = 24 * 3600
_LOOPBACK = ("127.0.0.1", "::1")
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")

log = structlog.get_logger()


class Visit:
    """One request for a page: what handlers read of it, and how they answer."""

    def __init__(self, request: Request, services: Services, session: Session | None) -> None:
        self.request = request
        self.services = services
        self.session = session
        self._visitor = request.cookies.get(_VISITOR_COOKIE, "")[:100]
        self._new_visitor = False

    @property
    def session_token(self) -> str | None:
        return session_token(self.request.scope)

    @property
    def signed_in(self) -> Session:
        """The session, on pages that need one."""
        if self.session is None:
            raise LookupError("this page's row lets everybody in")
        return self.session

    @property
    def account_id(self) -> str:
        return self.signed_in.user.account_id

    @property
    def csrf(self) -> str:
        """What every form carries. Somebody who is not signed in gets a cookie for it."""
        if self.session is not None:
            return self.session.csrf
        if not self._visitor:
            self._visitor, self._new_visitor = random_text(32), True
        return self.services.people.csrf_for_visitor(self._visitor)

    @property
    def address(self) -> str:
        """Where the request comes from; a proxy on this machine is believed when it says so."""
        client = self.request.client.host if self.request.client else ""
        forwarded = ",".join(self.request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
        return forwarded[:100] if forwarded and client in _LOOPBACK else client

    @property
    def origin(self) -> str:
        """The address of this service as the visitor wrote it, such as `http://127.0.0.1:8080`."""
        settings = self.services.settings
        if settings.public_url:
            return settings.public_url
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
        """A parameter, or nothing. Of a character that no database can look for, only its place is left."""
        text = self.request.query_params.get(name, "").strip()[:length_max]
        return "".join(character if is_storable(character) else "\ufffd" for character in text)

    def render(self, template: str, *, secret: bool = False, error: TollwayError | None = None, **values: Any) -> Response:
        """A page. `secret`: it shows something that no cache and no history may keep. `error`: why it is not as was wished."""
        html = (
            environment()
            .get_template(template)
            .render(
                visit=self,
                origin=self.origin,
                base_url=f"{self.origin}/v1",
                path=self.request.url.path,
                version=__version__,
                error=error,
                **values,
            )
        )
        headers = SECURITY_HEADERS | {"cache-control": "no-store" if secret or self.session else "private, no-cache"}
        response = Response(html, status_code=error.status if error else 200, media_type="text/html", headers=headers)
        if error is not None:
            for name, value in error_headers(error):
                if name not in {b"content-type", b"cache-control", b"www-authenticate"}:
                    response.headers[name.decode()] = value.decode()
        if self._new_visitor:
            self._set_cookie(response, _VISITOR_COOKIE, self._visitor, _VISITOR_SECONDS)
        return response

    def text(self, content: str, media_type: str) -> Response:
        return Response(content, media_type=media_type, headers=SECURITY_HEADERS | {"cache-control": "private, no-cache"})

    def redirect(self, path: str) -> Response:
        """To one of our own pages, with GET."""
        return Response(status_code=303, headers=SECURITY_HEADERS | {"location": path, "cache-control": "no-store"})

    def signed(self, token: str, path: str) -> Response:
        """To one of our own pages, as the person whose new session this is."""
        response = self.redirect(path)
        self._set_cookie(response, SESSION_COOKIE, token, int(SESSION_SECONDS))
        return response

    def signed_out(self, path: str) -> Response:
        response = self.redirect(path)
        self._set_cookie(response, SESSION_COOKIE, "", 0)
        return response

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        secure = self.origin.startswith("https:")
        response.set_cookie(name, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="lax")

    def error(self, error: TollwayError) -> Response:
        """The page that tells of it."""
        title, request_id = HTTPStatus(error.status).phrase, context_of(self.request.scope).request_id
        return self.render("error.html", secret=True, error=error, title=title, request_id=request_id)


def page_app(answer: Callable[[Visit], Awaitable[Response]], access: "Access", *, alone: bool = False) -> ASGIApp:
    """The ASGI callable of a page. What goes wrong inside is told as a page, too. `alone`: it is the same for everybody."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        context_of(scope).cors = False  # no other site may read a page
        visit = Visit(Request(scope, receive), context_of(scope).services, None)
        try:
            if not alone:
                visit.session = await visit.services.people.session(session_token(scope))
            response = _turned_away(visit, access) or await answer(visit)
        except Exception as error:
            if not isinstance(error, TollwayError):
                log.exception("unexpected_error", request_id=context_of(scope).request_id, route=context_of(scope).route)
            response = visit.error(as_tollway_error(error))
        await response(scope, receive, send)

    return app


def _turned_away(visit: Visit, access: "Access") -> Response | None:
    """What somebody gets who may not see the page."""
    if access == "public":
        return None
    if visit.session is None:
        if visit.request.method != "GET":
            raise Unauthorized("Your session is over. Sign in again, then repeat what you did.", code="session_over")
        query = f"?{visit.request.url.query}" if visit.request.url.query else ""
        return visit.redirect(f"/signin?next={quote(visit.request.url.path + query, safe='/')}")
    if access == "owner" and visit.session.user.role != "owner":
        raise Forbidden("This page is for the owner of this installation.")
    return None


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
    made.filters |= {
        "count": display.count,
        "money": display.money,
        "code": display.inline_code,
        "short": display.short_count,
        "date": display.date,
        "ago": display.ago,
        "iso": clock.iso,
        "moment": display.moment,
        "cost": display.cost,
        "rest": display.rest,
        "duration": display.duration,
        "usd": exact_usd,
    }
    return made
