"""`python -m tests.web.screenshots`: pictures of every page into docs/screenshots/, from a real service with a real answer."""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect
from tests.live import LiveServer, serving
from tests.web.browser import Scheme, Size, Window, chromium, make_owner, shot, window

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
MODEL = "google/gemini-2.5-flash-lite-preview"
LOOKS: tuple[tuple[Size, Scheme], ...] = (("desktop", "light"), ("desktop", "dark"), ("phone", "light"))
PAGES = {
    "start": "/",
    "models": "/catalog",
    "model": f"/catalog/{MODEL}",
    "docs": "/docs/quickstart",
    "reference": "/docs/api/create-chat-completion",
    "search": "/search?q=stream",
    "sign-in": "/signin",
    "not-found": "/nowhere",
}
KEYS = ("website", "nightly evaluation", "Ana's laptop")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        chromium() as browser,
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "home", engine_slots="2", engine_threads="1", signup="invitation") as server,
    ):
        make_owner(browser, server)
        _make_keys(browser, server)
        for size, scheme in LOOKS:
            with window(browser, server, size, scheme) as w:
                _take(w, f"{size}-{scheme}")


def _take(w: Window, look: str) -> None:
    for name, path in PAGES.items():
        _shot(w.go(path), name, look)
    w.sign_in()
    _shot(w.go("/keys"), "keys", look)
    w.page.get_by_label("Name", exact=True).fill(f"for the picture, {look}")
    w.page.get_by_role("button", name="Create key").click()
    w.page.locator(".secret").wait_for()
    _shot(w.page, "new-key", look)
    _shot(w.go("/people"), "people", look)
    _shot(_answered(w), "playground", look)


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


def _make_keys(browser: Browser, server: LiveServer) -> None:
    with window(browser, server) as w:
        w.sign_in()
        for name in KEYS:
            w.go("/keys").get_by_label("Name", exact=True).fill(name)
            w.page.get_by_label("Expires").select_option("90" if name == KEYS[1] else "never")
            w.page.get_by_role("button", name="Create key").click()
            w.page.locator(".secret").wait_for()
            if name == KEYS[0]:
                w.page.get_by_role("button", name="Try it now").click()
                expect(w.page.locator("[data-result]")).to_contain_text("ms")
        w.go("/keys").locator(".key", has_text=KEYS[2]).get_by_role("switch").click()
        w.page.wait_for_load_state()


def _shot(page: Page, name: str, look: str) -> None:
    page.evaluate("document.activeElement?.blur()")
    shot(page, FOLDER / f"{name}-{look}.png")


if __name__ == "__main__":
    main()
