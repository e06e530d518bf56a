"""`python -m tests.web.screenshots`: pictures of every page into docs/screenshots/, from a real service with a real answer.

The month before it is made up, by the desk and the ledger themselves.
"""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect
from tests.live import LiveServer, serving
from tests.web import sample_data
from tests.web.browser import PASSWORD, Scheme, Size, Window, chromium, make_owner, shot, window

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
MODEL = "google/gemini-2.5-flash-lite-preview"
LOOKS: tuple[tuple[Size, Scheme], ...] = (("desktop", "light"), ("desktop", "dark"), ("phone", "light"), ("phone", "dark"))
ONCE = (LOOKS[0], LOOKS[3])
"""Of pages that show nothing that others do not."""
PUBLIC = {
    "start": "/",
    "model": f"/catalog/{MODEL}",
    "docs": "/docs/quickstart",
}
PUBLIC_ONCE = {
    "models": "/catalog",
    "reference": "/docs/api/create-chat-completion",
    "search": "/search?q=stream",
    "sign-in": "/signin",
    "not-found": "/nowhere",
}
SIGNED_IN = {
    "usage": "/usage",
    "billing": "/usage/billing",
    "requests": "/usage/requests",
    "operator": "/operator",
    "keys": "/keys",
}
BYTES_MAX = 170_000
SHORT = {"requests": 640}
"""Pages that are all small print, and how many pixels of them are enough."""
GUEST = "ana@example.org"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        sample_data.fill(home)
        with (
            chromium() as browser,
            serving(home, key_name="terminal", engine_slots="2", engine_threads="1", signup="invitation") as server,
        ):
            make_owner(browser, server)
            _invite(browser, server)
            for _ in range(3):
                server.chat("Name a colour.", max_tokens=8)
            for size, scheme in LOOKS:
                with window(browser, server, size, scheme) as w:
                    _take(w, f"{size}-{scheme}", once=(size, scheme) in ONCE)
    large = [f"{path.name}: {path.stat().st_size:,}" for path in FOLDER.glob("*.png") if path.stat().st_size > BYTES_MAX]
    assert not large, f"larger than {BYTES_MAX:,} bytes: {large}"


def _take(w: Window, look: str, *, once: bool) -> None:
    for name, path in (PUBLIC | (PUBLIC_ONCE if once else {})).items():
        _shot(w.go(path), name, look)
    w.sign_in()
    for name, path in SIGNED_IN.items():
        _shot(w.go(path), name, look)
    page = w.go("/usage")
    page.locator("#latency").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('#latency').scrollIntoView()")
    _shot(page, "latency", look)
    w.go("/usage/requests?status=succeeded").locator("tbody .when a").nth(3).click()
    page.locator(".timeline").wait_for()
    _shot(page, "receipt", look)
    _shot(_answered(w), "playground", look)
    if once:
        _shot(w.go("/account"), "account", look)
        _shot(w.go("/people"), "people", look)
        page.get_by_role("link", name=GUEST).click()
        page.get_by_text("Remove them").wait_for()
        _shot(page, "person", look)
        w.go("/operator/book?account=research").get_by_label("US dollars").fill("25")
        page.get_by_label("Note").fill("Invoice 2026-118")
        page.get_by_role("button", name="Review").click()
        page.locator(".review").wait_for()
        _shot(page, "booking", look)
        w.go("/keys").get_by_label("Name", exact=True).fill("prototype" if look.startswith("desktop") else "phone app")
        page.get_by_role("button", name="Create key").click()
        page.get_by_role("button", name="Try it now").click()
        expect(page.locator("[data-result]")).to_contain_text("ms")
        _shot(page, "new-key", look)


def _invite(browser: Browser, server: LiveServer) -> None:
    with window(browser, server) as w, window(browser, server) as guest:
        w.sign_in()
        w.go("/people").get_by_role("button", name="Make a link").click()
        guest.page.goto(w.page.locator(".secret code").inner_text())
        guest.page.get_by_label("Email").fill(GUEST)
        for label in ("Password", "The same again"):
            guest.page.get_by_label(label).fill(PASSWORD)
        guest.page.get_by_role("button", name="Sign up").click()
        guest.page.wait_for_url("**/keys")
        guest.page.get_by_label("Name", exact=True).fill("notebook")
        guest.page.get_by_role("button", name="Create key").click()
        guest.page.locator(".secret").wait_for()


def _answered(w: Window) -> Page:
    page = w.go("/playground")
    page.locator("#system").fill("You are a geographer. Answer briefly.")
    page.get_by_label("Text of the message").fill("Name three rivers of Europe, as a list.")
    page.locator("#p-max_completion_tokens").fill("90")
    page.locator("#p-temperature").fill("0.3")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("[data-cost]").first).to_contain_text("$")
    expect(page.get_by_role("button", name="Run")).to_be_enabled()
    return page


def _shot(page: Page, name: str, look: str) -> None:
    page.evaluate("document.activeElement?.blur()")
    shot(page, FOLDER / f"{name}-{look}.png", height=SHORT.get(name))


if __name__ == "__main__":
    main()
