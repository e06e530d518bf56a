"""Every page that a browser can show, by the names of the rows in the table of pages. One that is not listed here fails."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from playwright.sync_api import Page as BrowserPage
from tests.live import LOCAL_MODEL, MODEL
from tests.web.browser import PASSWORD, Window

from tollway.web import docs

PAGES: dict[str, tuple[str, ...]] = {
    "start": ("/",),
    "catalog": ("/catalog", "/catalog?q=nothing-like-this"),
    "model": (f"/catalog/{MODEL}", f"/catalog/{LOCAL_MODEL}", "/catalog/nothing"),
    "docs": ("/docs",),
    "document": (
        "/docs/api/create-chat-completion",
        *(document.path for document in docs.documents().values()),
    ),
    "search": ("/search", "/search?q=stream", "/search?q=xylophone+concerto"),
    "signin": ("/signin",),
    "signup": ("/signup",),
    "welcome": ("/welcome/{link}", "/welcome/nothing"),
    "people": ("/people",),
    "person": ("/people/{person}", "/people/nobody"),
    "account": ("/account", "/account?done=password"),
    "keys": ("/keys",),
    "key": ("/keys/{key}", "/keys/nothing"),
    "playground": ("/playground", f"/playground?model={LOCAL_MODEL}"),
    "usage": ("/usage", "/usage?range=24h", "/usage?range=90d", "/usage?key={key}"),
    "billing": ("/usage/billing", "/usage/billing?type=MODEL_USAGE", "/usage/billing?from=x"),
    "requests": ("/usage/requests", "/usage/requests?status=failed", "/usage/requests?status=lost"),
    "receipt": ("/usage/requests/{request}", "/usage/requests/nothing"),
    "operator": ("/operator",),
    "book": ("/operator/book", "/operator/book?account={account}"),
}
FILES = {"llms", "robots", "static", "billingExport", "requestsNew"}
"""What is no page of its own."""
PUBLIC = ("start", "catalog", "model", "docs", "document", "search", "signin", "signup", "welcome")
NOWHERE = "/nothing"
LEADS_BACK = {
    "back",
    "signoutPost",
    "accountSignout",
    "personDisable",
    "personEnable",
    "personRemove",
    "keyEnable",
    "keyDisable",
    "keyDelete",
}
"""Forms after which one of the pages above is shown."""


@dataclass(frozen=True)
class Known:
    """What goes into the paths."""

    link: str
    person: str
    key: str
    request: str
    account: str = "owner"

    def paths(self, names: Sequence[str]) -> list[str]:
        return [path.format(**vars(self)) for name in names for path in dict.fromkeys(PAGES[name])]


def known(owner: Window, model: str = MODEL) -> Known:
    """Something of every kind to look at. `owner` is signed in."""
    person = invited(owner)
    link = make_link(owner)
    key = owner.go("/keys").locator("li.key").first.get_attribute("id")
    status, headers, raw = owner.server.request("POST", "/v1/chat/completions", hello(model))
    assert status == 200, raw
    return Known(link.rpartition("/")[2], person, key or "", headers["x-request-id"])


def hello(model: str = MODEL) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}


def make_link(owner: Window) -> str:
    """An invitation."""
    owner.go("/people").get_by_role("button", name="Make a link").click()
    return owner.page.locator(".secret code").inner_text()


def invited(owner: Window) -> str:
    """The id of a person who has come by an invitation."""
    other = owner.context.browser.new_context().new_page()  # type: ignore[union-attr]
    email = f"guest{re.sub(r'[^0-9]', '', make_link(owner))}{len(owner.page.content())}@example.org"
    other.goto(make_link(owner))
    sign_up(other, email)
    other.wait_for_url("**/keys")
    other.context.close()
    href = owner.go("/people").get_by_role("link", name=email).get_attribute("href")
    return (href or "").rpartition("/")[2]


def sign_up(page: BrowserPage, email: str, again: str = PASSWORD) -> None:
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same again").fill(again)
    page.get_by_role("button", name="Sign up").click()


# --- pages that are the answer to a form ----------------------------------------------------------------------------------


def _wrong_password(w: Window, it: Known) -> None:
    page = w.go("/signin")
    page.get_by_label("Email").fill("nobody@example.org")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()


def _sign_up_wrongly(path: str) -> Callable[[Window, Known], None]:
    def lead(w: Window, it: Known) -> None:
        w.go(path.format(**vars(it)))
        sign_up(w.page, "new@example.org", again="another password")

    return lead


def _link(w: Window, it: Known) -> None:
    make_link(w)


def _reset_link(w: Window, it: Known) -> None:
    w.go(f"/people/{it.person}").get_by_role("button", name="Make a link").click()


def _wrong_present_password(w: Window, it: Known) -> None:
    page = w.go("/account")
    page.get_by_label("Present password").fill("not the password")
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("The new one again").fill(PASSWORD)
    page.get_by_role("button", name="Change the password").click()


def _new_key(w: Window, it: Known) -> None:
    page = w.go("/keys")
    count = page.locator("li.key").count()
    page.get_by_label("Name", exact=True).fill(f"key number {count}")
    page.get_by_role("button", name="Create key").click()
    page.locator(".secret").wait_for()


def _key_that_is_there(w: Window, it: Known) -> None:
    page = w.go("/keys")
    page.get_by_label("Name", exact=True).fill(page.locator("li.key h3").first.inner_text())
    page.get_by_role("button", name="Create key").click()
    page.get_by_role("alert").wait_for()


def _key_changed_wrongly(w: Window, it: Known) -> None:
    page = w.go(f"/keys/{it.key}")
    page.locator("details.more").evaluate("(e) => { e.open = true; }")
    page.get_by_label("Spend limit").fill("a lot")
    page.get_by_role("button", name="Save").click()


def _rotated(w: Window, it: Known) -> None:
    card = w.go("/keys").locator("li.key").first
    card.get_by_text("Rotate").click()
    card.get_by_role("button", name="Make a new secret").click()


def _review(w: Window, it: Known) -> None:
    page = w.go(f"/operator/book?account={it.account}")
    page.get_by_label("US dollars").fill("1")
    page.get_by_role("button", name="Review").click()


def _booked(w: Window, it: Known) -> None:
    _review(w, it)
    w.page.get_by_role("button", name="Book it").click()


def _booked_wrongly(w: Window, it: Known) -> None:
    page = w.go("/operator/book?account=nobody")
    page.get_by_label("US dollars").fill("a lot")
    page.get_by_role("button", name="Review").click()


ANSWERS: tuple[tuple[str, bool, str, Callable[[Window, Known], None]], ...] = (
    ("signinPost", False, "Sign in", _wrong_password),
    ("signupPost", False, "Sign up", _sign_up_wrongly("/signup")),
    ("welcomePost", False, "You are invited", _sign_up_wrongly("/welcome/{link}")),
    ("peopleInvite", True, "People", _link),
    ("personLink", True, "@example.org", _reset_link),
    ("accountPassword", True, "Your account", _wrong_present_password),
    ("keysCreate", True, "Your new key", _new_key),
    ("keysCreate", True, "API keys", _key_that_is_there),
    ("keyChange", True, "first key", _key_changed_wrongly),
    ("keyRotate", True, "The key's new secret", _rotated),
    ("bookPost", True, "Is this right?", _review),
    ("bookPost", True, "Book credits", _booked),
    ("bookPost", True, "Book credits", _booked_wrongly),
)
"""By the row of the form: whether one has to be signed in, the heading, and how to get there."""


def all_rows() -> set[str]:
    return {*PAGES, *FILES, *LEADS_BACK, *(name for name, *_ in ANSWERS)}


def one_of_each(it: Known, *, signed_in: bool) -> dict[str, str]:
    """By row: the path that stands for all that look like it."""
    return {name: it.paths([name])[0] for name in PAGES if (name not in PUBLIC) == signed_in}


def everything(it: Known, *, signed_in: bool) -> list[str]:
    names = [name for name in PAGES if (name not in PUBLIC) == signed_in]
    return [*it.paths(names), *(() if signed_in else (NOWHERE,))]
