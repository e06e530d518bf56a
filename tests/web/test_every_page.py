"""Every page, in every size and both colours: accessible, inside of the window, and nothing asked of anybody else."""

from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page
from tests.live import LiveServer
from tests.web.browser import Scheme, Size, window

_AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
MODEL = "google/gemini-2.5-flash-lite-preview"
PUBLIC = (
    "/",
    "/catalog",
    "/catalog?q=nothing-like-this",
    f"/catalog/{MODEL}",
    "/docs",
    "/docs/quickstart",
    "/docs/errors",
    "/docs/settings",
    "/docs/api/create-chat-completion",
    "/search?q=stream",
    "/signin",
    "/nothing",
)
SIGNED_IN = (
    *("/keys", "/people", "/account", "/playground"),
    *("/usage", "/usage/billing", "/usage/requests", "/operator", "/operator/book"),
)


def violations(page: Page) -> list[str]:
    """What axe-core finds, by rule and place."""
    # evaluated by the debugger, which no page's policy concerns
    page.evaluate(_AXE)
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [f"{rule['id']}: {node['target']} {node['failureSummary'][:300]}" for rule in found for node in rule["nodes"]]


def overflow(page: Page) -> list[str]:
    """Elements that make the page scroll sideways."""
    return list(
        page.evaluate(
            "() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll('body *')]"
            ".filter((e) => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 5).map((e) => e.outerHTML.slice(0, 120))"
        )
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone", "narrow"])
def test_nothing_to_complain_about(browser: Browser, site: LiveServer, size: Size, scheme: Scheme) -> None:
    found: dict[str, list[str]] = {}
    with window(browser, site, size, scheme) as w:
        for path in PUBLIC:
            page = w.go(path)
            found[path] = [*violations(page), *overflow(page)]
        w.sign_in()
        for path in SIGNED_IN:
            page = w.go(path)
            page.evaluate("() => document.querySelectorAll('main details').forEach((e) => { e.open = true; })")
            found[path] = [*violations(page), *overflow(page)]
        w.go("/keys").get_by_label("Name", exact=True).fill(f"{size} {scheme}")
        w.page.get_by_role("button", name="Create key").click()
        w.page.locator(".secret").wait_for()
        found["a new key"] = [*violations(w.page), *overflow(w.page)]
        w.go("/keys").get_by_role("link", name=f"Change {size} {scheme}").click()
        w.page.get_by_role("button", name="Save").wait_for()
        found["one key"] = [*violations(w.page), *overflow(w.page)]
    problems = [f"{path}\n  {problem}" for path, told in found.items() for problem in told]
    assert not problems, "\n".join(problems)


def test_the_choice_of_light_or_dark_stays(browser: Browser, site: LiveServer) -> None:
    with window(browser, site, scheme="light") as w:
        page = w.go("/")
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.get_by_role("button", name="Switch between light and dark").click()
        w.go("/docs")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
