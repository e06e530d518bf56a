"""Usage, billing, requests, receipts and the operator's view, in a browser: a call is made, and seen, and paid for."""

import re

from playwright.sync_api import Browser, Page, expect
from tests.live import MODEL, LiveServer
from tests.web.accessible import overflow, violations
from tests.web.browser import Window, window


def ask(site: LiveServer, text: str = "Hello", **fields: object) -> str:
    """One call with the server's key; its request id."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 8, **fields}
    status, headers, raw = site.request("POST", "/v1/chat/completions", body)
    assert status == 200, raw
    return headers["x-request-id"]


def test_what_was_asked_is_seen_and_explained(browser: Browser, site: LiveServer) -> None:
    request_id = ask(site)
    with window(browser, site) as w:
        w.sign_in()
        page = w.go("/usage/requests")
        row = page.locator("tbody tr").first
        expect(row.locator("a")).to_have_attribute("href", f"/usage/requests/{request_id}")
        cost = row.locator("td").last.inner_text()
        assert re.fullmatch(r"\$0\.0\d+", cost)
        page.get_by_label("Any id of a request").fill(request_id)
        page.get_by_role("button", name="Find").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Receipt")
        expect(page.locator(".timeline li")).to_have_count(5)
        # the engine may have been asked while the hold was being written
        expect(page.locator(".timeline")).to_contain_text(
            re.compile(r"(Held .*Asked|Asked.*Held ).*First token.*Answered.*Charged", re.DOTALL)
        )
        expect(page.locator("tfoot")).to_contain_text("$0.0")
        w.go("/usage/billing?type=MODEL_USAGE")
        first = page.locator("tbody tr").first
        first.get_by_role("link", name="Receipt").click()
        expect(page.locator(".receipt-id")).to_contain_text(request_id)
        w.go("/usage?range=24h")
        expect(page.locator('.drawing path:not([d=""])').first).to_be_visible()
        page.get_by_text("Show the figures").first.click()
        expect(page.locator(".figures-table tbody tr").first).to_be_visible()


def test_new_requests_appear_and_can_be_paused(browser: Browser, site: LiveServer) -> None:
    with window(browser, site) as w:
        w.sign_in()
        page = w.go("/usage/requests")
        live = page.get_by_role("button", name="Live")
        live.click()
        expect(live).to_have_attribute("aria-pressed", "true")
        request_id = ask(site, "Are you there?")
        new = page.locator("tr.new", has=page.locator(f'a[href$="{request_id}"]'))
        expect(new).to_have_count(1, timeout=6_000)
        page.wait_for_timeout(4_500)
        expect(page.locator(f'tbody a[href$="{request_id}"]')).to_have_count(1)
        live.click()
        later = ask(site)
        page.wait_for_timeout(3_000)
        expect(page.locator(f'tbody a[href$="{later}"]')).to_have_count(0)
        page.route("**/usage/requests/new*", lambda route: route.abort())
        live.click()
        expect(page.locator("[data-live-text]")).to_have_text("Lost, trying again")
        page.unroute("**/usage/requests/new*")
        expect(page.locator(f'tbody a[href$="{later}"]')).to_have_count(1, timeout=15_000)
        expect(page.locator("[data-live-text]")).to_have_text("Live")


def test_who_is_signed_out_is_told_so_by_the_live_log(browser: Browser, site: LiveServer) -> None:
    with window(browser, site) as w:
        w.sign_in()
        page = w.go("/usage/requests")
        w.context.clear_cookies()
        live = page.locator("[data-live]")
        live.click()
        expect(page.locator("[data-live-text]")).to_have_text("Signed out")
        expect(live).to_have_attribute("aria-pressed", "false")


def test_credits_are_booked_with_the_keyboard_and_without_a_script(browser: Browser, site: LiveServer) -> None:
    with window(browser, site, java_script_enabled=False) as w:
        w.sign_in()
        page = w.go("/usage/billing")
        before = _available(page)
        page.get_by_role("link", name="Book credits").focus()
        page.keyboard.press("Enter")
        page.get_by_label("US dollars").focus()
        page.keyboard.type("12.50")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.type("<b>Invoice 7</b>")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Is this right?")
        expect(page.locator(".review")).to_contain_text("<b>Invoice 7</b>")
        page.get_by_role("button", name="Book it").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").first).to_contain_text("Booked. +$12.50")
        w.go("/usage/billing?type=PAYMENT")
        expect(page.locator("tbody tr", has_text="<b>Invoice 7</b>")).to_have_count(1)
        assert round(_available(page) - before, 6) == 12.5


def test_the_export_is_a_file(browser: Browser, site: LiveServer) -> None:
    ask(site)
    with window(browser, site) as w:
        w.sign_in()
        page = w.go("/usage/billing")
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        text = download.value.path().read_text()
        assert download.value.suggested_filename.endswith(".csv")
        assert text.startswith("time,type,direction,usd,credits,")
        assert "MODEL_USAGE,CHARGE,-0.0" in text


def test_the_operators_view_knows_the_engine(browser: Browser, site: LiveServer) -> None:
    ask(site)
    with window(browser, site) as w:
        w.sign_in()
        page = w.go("/operator")
        row = page.locator("tr", has=page.get_by_role("rowheader", name="local"))
        expect(row).to_contain_text("asked")
        expect(page.locator("dl.rows")).to_contain_text("answers")
        expect(page.locator("#totals ~ table tfoot")).to_contain_text("adds up")
        expect(page.locator("#failures ~ *").first).to_be_visible()


def test_receipts_and_wrong_filters_are_accessible_everywhere(browser: Browser, site: LiveServer) -> None:
    request_id = ask(site)
    found: dict[str, list[str]] = {}
    for size, scheme in (("desktop", "light"), ("narrow", "dark"), ("narrow", "light"), ("desktop", "dark")):
        with window(browser, site, size, scheme) as w:  # type: ignore[arg-type]
            w.sign_in()
            for path in (
                f"/usage/requests/{request_id}",
                "/usage/requests?status=lost",
                "/usage/billing?from=x",
                "/usage?range=90d",
            ):
                page = w.go(path)
                found[f"{path} {size} {scheme}"] = [*violations(page), *overflow(page)]
            found[f"review {size} {scheme}"] = _review(w)
    assert {path: problems for path, problems in found.items() if problems} == {}


def _review(w: Window) -> list[str]:
    page = w.go("/operator/book?account=owner")
    page.get_by_label("US dollars").fill("1")
    page.get_by_role("button", name="Review").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Is this right?")
    return [*violations(page), *overflow(page)]


def _available(page: Page) -> float:
    return float(page.locator(".figures .money dd").first.inner_text().removeprefix("$").replace(",", ""))
