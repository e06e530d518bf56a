"""The cookie of who is signed in, and whether a request comes from one of our own pages."""

from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.types import Scope

from tollway.errors import Forbidden

SESSION_COOKIE = "tollway_session"
CSRF_HEADER = b"x-csrf-token"


def session_token(scope: Scope) -> str | None:
    """What the session cookie holds. Two of them are nobody's: one may have been planted."""
    header = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    if header.count(SESSION_COOKIE.encode() + b"=") != 1:
        return None
    try:
        cookie = SimpleCookie(header.decode("latin-1")).get(SESSION_COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie is not None and cookie.value else None


def csrf_header(scope: Scope) -> str | None:
    return _header(scope, CSRF_HEADER)


def refuse_other_origins(scope: Scope, public_url: str) -> None:
    """Raises Forbidden unless the browser says that one of our own pages sent the request.

    Our origin is `public_url`, or what the Host header says: a browser sets both headers, and no page can change them.
    """
    origin, host = _header(scope, b"origin"), _header(scope, b"host")
    if origin is not None and host is not None:
        own = {urlsplit(public_url).netloc, host} if public_url else {host}
        try:
            if urlsplit(origin).netloc in own - {""}:
                return
        except ValueError:
            pass
    raise Forbidden("This request did not come from one of our own pages. Reload the page and try again.", code="other_origin")


def _header(scope: Scope, wanted: bytes) -> str | None:
    """The only value of a header, or None."""
    values = [value for name, value in scope["headers"] if name == wanted]
    return values[0].decode("latin-1") if len(values) == 1 else None
