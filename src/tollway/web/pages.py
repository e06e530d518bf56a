"""The one table of pages. Routing and who may see what come from it."""

from starlette.types import Receive, Scope, Send

from tollway.api import routing
from tollway.web import assets, public
from tollway.web.frame import page_app
from tollway.web.table import Access, Page

PAGES: tuple[Page, ...] = (
    Page(name="start", paths=("/",), answer=public.start, access=Access.PUBLIC),
    Page(name="catalog", paths=("/catalog",), answer=public.catalog, access=Access.PUBLIC),
    Page(name="model", paths=("/catalog/{id:path}",), answer=public.model, access=Access.PUBLIC),
    Page(name="docs", paths=("/docs",), answer=public.docs_home, access=Access.PUBLIC),
    Page(name="document", paths=("/docs/{name:path}",), answer=public.document, access=Access.PUBLIC),
    Page(name="search", paths=("/search",), answer=public.find, access=Access.PUBLIC),
    Page(name="llms", paths=("/llms.txt",), answer=public.llms, access=Access.PUBLIC),
    Page(name="robots", paths=("/robots.txt",), answer=public.robots, access=Access.PUBLIC),
    Page(name="static", paths=("/static/{version}/{name}",), answer=assets.serve, access=Access.PUBLIC),
)

_nothing_here = page_app(public.nothing_here, Access.PUBLIC)


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Where no row answers: a page for people, problem+json for programs."""
    accept = next((value for name, value in scope.get("headers", ()) if name == b"accept"), b"")
    if scope["type"] == "http" and b"text/html" in accept and not scope["path"].startswith("/v1/"):
        await _nothing_here(scope, receive, send)
    else:
        await routing.not_found(scope, receive, send)
