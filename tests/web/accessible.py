"""What a page owes to everybody, with a mouse or without, seeing or not. Each function tells what is wrong; empty = nothing."""

from pathlib import Path

import axe_playwright_python
from playwright.sync_api import Page

_AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")

_SCRIPT = Path(__file__).with_name("accessible.js").read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    """What axe-core finds, by rule and place."""
    # evaluated by the debugger, which no page's policy concerns
    page.evaluate(_AXE)
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [f"{rule['id']}: {node['target']} {node['failureSummary'][:300]}" for rule in found for node in rule["nodes"]]


def overflow(page: Page) -> list[str]:
    """Elements that make the page scroll sideways, or begin left of it, where nothing scrolls to."""
    return list(
        page.evaluate(
            """() => {
              const scrolls = document.documentElement.scrollWidth > innerWidth;
              const pushed = (e) => e && (e.scrollLeft > 0 || pushed(e.parentElement));
              const outside = (e, {left, right}) => (left < -1 && !pushed(e)) || (scrolls && right > innerWidth + 1);
              return [...document.querySelectorAll("body *")].filter((e) => outside(e, e.getBoundingClientRect()))
                .slice(0, 5).map((e) => e.outerHTML.slice(0, 120));
            }"""
        )
    )


def covered(page: Page, selector: str) -> list[str]:
    """Of these elements, those that lie over one another."""
    return list(
        page.locator(selector).evaluate_all(
            """(all) => {
              const seen = all.filter((e) => e.getClientRects().length).map((e) => [e, e.getBoundingClientRect()]);
              const beside = (a, b) => a.right <= b.left + 1 || a.bottom <= b.top + 1;
              const over = (a, b) => !beside(a, b) && !beside(b, a);
              const covered = seen.filter(([, a], n) => seen.slice(0, n).some(([, b]) => over(a, b)));
              return covered.map(([e]) => e.outerHTML.slice(0, 120));
            }"""
        )
    )


def shifts(page: Page) -> list[str]:
    """What has moved since the page was first drawn, when it is more than browsers' own rule calls good (0.1)."""
    return list(
        page.evaluate(
            """() => new Promise((told) => {
              const seen = [];
              const watch = new PerformanceObserver((list) => seen.push(...list.getEntries()));
              watch.observe({ type: "layout-shift", buffered: true });
              requestAnimationFrame(() => setTimeout(() => {
                const moved = seen.flatMap((shift) => shift.sources.map((source) => source.node?.outerHTML?.slice(0, 80)));
                const sum = seen.reduce((sum, shift) => sum + shift.value, 0);
                told(sum > 0.1 ? [`moved by ${sum.toFixed(3)}: ${moved.join(", ")}`] : []);
              }));
            })"""
        )
    )


def disorder(page: Page) -> list[str]:
    """What a screen reader stumbles over: landmarks, headings, labels, words for what is drawn."""
    return _told(page, "disorder")


def focus_unseen(page: Page) -> list[str]:
    """What is wrong with how the focus is seen where it is now."""
    return _told(page, "focusUnseen")


def unseen_stops(page: Page) -> list[str]:
    """Places where the focus cannot be seen. Leaves the focus on the last of them."""
    page.keyboard.press("Tab")  # from here on a script that moves the focus does so for the keyboard
    return _told(page, "unseenStops")


def foreign_parts(page: Page) -> list[str]:
    """Elements that no page of ours has: scripts and styles inside of it, images from elsewhere, links that run something."""
    return _told(page, "foreignParts")


def _told(page: Page, function: str) -> list[str]:
    return list(page.evaluate(f"() => ({_SCRIPT}).{function}()"))
