"""The one table of pages. Routing and who may see what come from it."""

from starlette.types import Receive, Scope, Send

from tollway.api import routing
from tollway.web import assets, billing, booking, keys, logs, operator, people, playground, public, receipt, sign_in, usage
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
    Page(name="signin", paths=("/signin",), answer=sign_in.sign_in_form, access=Access.PUBLIC),
    Page(name="signinPost", method="POST", paths=("/signin",), answer=sign_in.sign_in, access=Access.PUBLIC),
    Page(name="signoutPost", method="POST", paths=("/signout",), answer=sign_in.sign_out, access=Access.PUBLIC),
    Page(name="signup", paths=("/signup",), answer=sign_in.sign_up_form, access=Access.PUBLIC),
    Page(name="signupPost", method="POST", paths=("/signup",), answer=sign_in.sign_up, access=Access.PUBLIC),
    Page(name="welcome", paths=("/welcome/{token}",), answer=sign_in.welcome_form, access=Access.PUBLIC),
    Page(name="welcomePost", method="POST", paths=("/welcome/{token}",), answer=sign_in.welcome, access=Access.PUBLIC),
    Page(name="people", paths=("/people",), answer=people.people, access=Access.OWNER),
    Page(name="peopleInvite", method="POST", paths=("/people/invite",), answer=people.invite, access=Access.OWNER),
    Page(name="person", paths=("/people/{id}",), answer=people.person, access=Access.OWNER),
    Page(name="personLink", method="POST", paths=("/people/{id}/link",), answer=people.reset, access=Access.OWNER),
    Page(
        name="personDisable",
        method="POST",
        paths=("/people/{id}/disable",),
        answer=people.switching(True),
        access=Access.OWNER,
    ),
    Page(
        name="personEnable", method="POST", paths=("/people/{id}/enable",), answer=people.switching(False), access=Access.OWNER
    ),
    Page(name="personRemove", method="POST", paths=("/people/{id}/remove",), answer=people.remove, access=Access.OWNER),
    Page(name="account", paths=("/account",), answer=people.account, access=Access.PERSON),
    Page(
        name="accountPassword",
        method="POST",
        paths=("/account/password",),
        answer=people.change_password,
        access=Access.PERSON,
    ),
    Page(
        name="accountSignout",
        method="POST",
        paths=("/account/signout",),
        answer=people.sign_out_elsewhere,
        access=Access.PERSON,
    ),
    Page(name="keys", paths=("/keys",), answer=keys.keys, access=Access.PERSON),
    Page(name="keysCreate", method="POST", paths=("/keys",), answer=keys.create, access=Access.PERSON),
    Page(name="key", paths=("/keys/{id}",), answer=keys.key, access=Access.PERSON),
    Page(name="keyChange", method="POST", paths=("/keys/{id}",), answer=keys.change, access=Access.PERSON),
    Page(name="keyEnable", method="POST", paths=("/keys/{id}/enable",), answer=keys.switching(True), access=Access.PERSON),
    Page(name="keyDisable", method="POST", paths=("/keys/{id}/disable",), answer=keys.switching(False), access=Access.PERSON),
    Page(name="keyRotate", method="POST", paths=("/keys/{id}/rotate",), answer=keys.rotate, access=Access.PERSON),
    Page(name="keyDelete", method="POST", paths=("/keys/{id}/delete",), answer=keys.delete, access=Access.PERSON),
    Page(name="playground", paths=("/playground",), answer=playground.playground, access=Access.PERSON),
    Page(name="usage", paths=("/usage",), answer=usage.usage, access=Access.PERSON),
    Page(name="billing", paths=("/usage/billing",), answer=billing.billing, access=Access.PERSON),
    Page(name="billingExport", paths=("/usage/billing/transactions.csv",), answer=billing.export, access=Access.PERSON),
    Page(name="requests", paths=("/usage/requests",), answer=logs.log, access=Access.PERSON),
    Page(name="requestsNew", paths=("/usage/requests/new",), answer=logs.fresh, access=Access.PERSON),
    Page(name="receipt", paths=("/usage/requests/{id}", "/usage/receipt"), answer=receipt.receipt, access=Access.PERSON),
    Page(name="operator", paths=("/operator",), answer=operator.operator, access=Access.OWNER),
    Page(name="book", paths=("/operator/book",), answer=booking.form, access=Access.OWNER),
    Page(name="bookPost", method="POST", paths=("/operator/book",), answer=booking.book, access=Access.OWNER),
    Page(
        name="back",
        paths=(
            "/signout",
            "/people/invite",
            *(f"/people/{{id}}/{action}" for action in ("link", "disable", "enable", "remove")),
            "/account/password",
            "/account/signout",
            *(f"/keys/{{id}}/{action}" for action in ("enable", "disable", "rotate", "delete")),
        ),
        answer=public.back,
        access=Access.PUBLIC,
    ),
    Page(name="static", paths=("/static/{version}/{name}",), answer=assets.serve, access=Access.PUBLIC, alone=True),
)

_nothing_here = page_app(public.nothing_here, Access.PUBLIC)


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Where no row answers: a page for people, problem+json for programs."""
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    if b"text/html" in accept and not scope["path"].startswith("/v1/"):
        await _nothing_here(scope, receive, send)
    else:
        await routing.not_found(scope, receive, send)
