"""Every page, in every size and both colours: accessible, inside of the window, and nothing asked of anybody else."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.live import MODEL, LiveServer
from tests.web import places
from tests.web.accessible import covered, disorder, foreign_parts, overflow, shifts, unseen_stops, violations
from tests.web.browser import SIZES, Scheme, Size, window

from tollway.web.pages import PAGES

LOOKS: list[tuple[Size, Scheme]] = [
    ("desktop", "light"),
    ("narrow", "dark"),
    ("phone", "light"),
    ("desktop", "dark"),
    ("tablet", "light"),
]
THOROUGH = LOOKS[:2]
"""The looks in which everything is looked at, answers to forms, too; in the others, one page of each kind. Of what is more of a
kind, the second of them only sees whether it fits: its parts are those of the others."""


def test_every_page_is_looked_at() -> None:
    assert {page.name for page in PAGES} == places.all_rows(), "say in tests/web/places.py how to get to a new page"


def complaints(page: Page) -> list[str]:
    moved = shifts(page)
    page.evaluate("() => document.querySelectorAll('main details:not(.ask)').forEach((e) => { e.open = true; })")
    return [*moved, *violations(page), *overflow(page), *disorder(page), *foreign_parts(page), *unseen_stops(page)]


def misfits(page: Page) -> list[str]:
    return [*shifts(page), *overflow(page)]


@pytest.fixture(scope="module")
def it(browser: Browser, site: LiveServer) -> places.Known:
    with window(browser, site) as owner:
        owner.sign_in()
        return places.known(owner)


@pytest.mark.parametrize("signed_in", [False, True], ids=["visitor", "owner"])
@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_nothing_to_complain_about(
    browser: Browser, site: LiveServer, it: places.Known, size: Size, scheme: Scheme, signed_in: bool
) -> None:
    thorough = (size, scheme) in THOROUGH
    each = list(places.one_of_each(it, signed_in=signed_in).values())
    look_at_more = complaints if (size, scheme) == THOROUGH[0] else misfits
    found: dict[str, list[str]] = {}
    with window(browser, site, size, scheme) as w:
        if signed_in:
            w.sign_in()
        for path in places.everything(it, signed_in=signed_in) if thorough else each:
            look = complaints if path in each else look_at_more
            found[path] = look(w.go(path))
        for name, needs_session, heading, lead in places.ANSWERS if thorough else ():
            if needs_session == signed_in:
                lead(w, it)
                expect(w.page.get_by_role("heading", level=1)).to_contain_text(heading)
                found[f"{name}: {heading}"] = complaints(w.page)
    problems = [f"{path}\n  {problem}" for path, told in found.items() for problem in told]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("size", SIZES)
def test_the_header_has_room_for_all_that_an_owner_has(browser: Browser, site: LiveServer, size: Size) -> None:
    with window(browser, site, size) as w:
        w.sign_in()
        page = w.go("/usage")
        assert covered(page, ".top-in > *") == []
        cut = page.locator(".main-nav").evaluate("(e) => e.scrollWidth > e.clientWidth")
        assert not cut or size in ("phone", "narrow"), "there it can be pushed"
        page.get_by_role("searchbox", name="Search").fill("stream")
        expect(page.locator(".found a").first).to_be_visible()
        assert overflow(page) == []
        box = page.locator(".found").bounding_box()
        assert box
        assert box["width"] >= 0.8 * min(SIZES[size][0], 448)


@pytest.mark.parametrize("size", ["phone", "narrow"])
def test_prices_are_whole_on_a_phone(browser: Browser, site: LiveServer, size: Size) -> None:
    with window(browser, site, size) as w:
        page = w.go(f"/catalog/{MODEL}")
        broken = "(all) => all.filter((e) => e.scrollWidth > e.clientWidth || e.clientHeight > 44).map((e) => e.textContent)"
        assert page.locator(".rates td").count() > 3
        assert page.locator(".rates td").evaluate_all(broken) == []


def test_names_in_a_wide_table_are_whole_on_a_phone(browser: Browser, site: LiveServer) -> None:
    with window(browser, site, "phone") as w:
        page = w.go("/docs/settings")
        assert page.locator(".scroll").first.evaluate("(e) => e.scrollWidth > e.clientWidth"), "it is wider than the phone"
        names = page.locator("td code", has_text=re.compile("^TOLLWAY_"))
        assert names.count() > 20
        assert names.evaluate_all("(all) => all.filter((e) => e.getClientRects().length > 1).map((e) => e.textContent)") == []


def test_the_choice_of_light_or_dark_stays(browser: Browser, site: LiveServer) -> None:
    with window(browser, site, scheme="light") as w:
        page = w.go("/")
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.get_by_role("button", name="Switch between light and dark").click()
        w.go("/docs")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
