"""The whole way, as a person goes it."""

import re

import pytest
from playwright.sync_api import Browser, expect
from tests.live import LiveServer
from tests.web.browser import PASSWORD, Scheme, Size, owner_link, window


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_from_a_key_to_an_answer_to_a_refusal(browser: Browser, site: LiveServer, size: Size, scheme: Scheme) -> None:
    with window(browser, site, size, scheme) as w:
        w.sign_in()
        page = w.page
        page.get_by_label("Name", exact=True).fill(f"{size} <b>key</b> שלום")
        page.get_by_role("button", name="Create key").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Your new key")
        secret = page.locator(".secret code").inner_text()
        assert re.fullmatch(r"tw_\w{36}", secret)

        page.get_by_role("button", name="Try it now").click()
        expect(page.locator("[data-result]")).to_contain_text(re.compile(r"It answered in [\d,]+ ms, for \$0\.\d+"))
        site.key, kept = secret, site.key
        try:
            assert site.request("POST", "/v1/chat/completions", _hello())[0] == 200
            page.get_by_role("link", name="Back to all keys").click()
            assert secret not in page.content()
            card = page.locator(".key", has_text=f"{size} <b>key</b>")
            card.get_by_role("switch").click()
            expect(card.get_by_role("switch")).to_have_attribute("aria-checked", "false")
            status, problem = site.error(body=_hello())
            assert (status, problem["error"]["data"]["kind"]) == (401, "err_key_disabled")
        finally:
            site.key = kept
        card.get_by_text("Delete", exact=False).first.click()
        card.get_by_role("button", name="Delete for good").click()
        expect(page.locator(".key", has_text=f"{size} <b>key</b>")).to_have_count(0)


def test_the_start_page_calls_with_a_key_or_with_the_session(browser: Browser, site: LiveServer) -> None:
    answered = re.compile(r"It answered in [\d,]+ ms, for \$0\.\d+: “.+”", re.DOTALL)
    with window(browser, site, "phone") as w:
        page = w.go("/")
        page.get_by_role("button", name="Try it now").click()
        expect(page.locator("[data-result]")).to_have_text("Put your API key in first.")
        expect(page.get_by_label("Your API key")).to_be_focused()
        page.keyboard.type("<img src=x>")
        expect(page.locator(".panel:visible")).to_contain_text("<YOUR_API_KEY>")
        page.get_by_label("Your API key").fill("tw_wrong")
        page.keyboard.press("Enter")
        expect(page.locator("[data-result]")).to_contain_text("It did not work")
        page.get_by_label("Your API key").fill(site.key)
        expect(page.locator(".panel:visible")).to_contain_text(site.key)
        page.get_by_role("button", name="Try it now").click()
        expect(page.locator("[data-result]")).to_have_text(answered)
        page.reload()
        assert site.key not in page.content()
        expect(page.locator(".sign")).to_contain_text(re.compile(r"First word, on average\s*[\d.]+ m?s"))
        w.sign_in()
        page = w.go("/")
        page.get_by_role("button", name="Try it now").click()
        expect(page.locator("[data-result]")).to_have_text(answered)
        row = w.go("/usage/requests").locator("tbody tr").first
        expect(row).to_contain_text("playground")


def test_the_link_works_once(browser: Browser, site: LiveServer) -> None:
    with window(browser, site) as w:
        page = w.go(owner_link(site))
        expect(page.get_by_role("heading", level=1)).to_have_text("Not Found")
        expect(page.locator("main")).to_contain_text("used already")


def test_without_a_script_everything_but_the_playground_works(browser: Browser, site: LiveServer) -> None:
    with window(browser, site, java_script_enabled=False) as w:
        w.sign_in()
        w.page.get_by_label("Name", exact=True).fill("no script")
        w.page.get_by_role("button", name="Create key").click()
        expect(w.page.locator(".secret code")).to_have_text(re.compile(r"tw_\w{36}"))
        page = w.go("/catalog/google/gemini-2.5-flash-lite-preview")
        expect(page.locator(".panel:visible")).to_have_count(1)
        page.get_by_text("cURL").first.click()
        expect(page.locator(".panel:visible")).to_contain_text("curl http")
        w.go("/search?q=nginx")
        expect(w.page.locator(".hits a").first).to_be_visible()


def test_with_the_keyboard_alone(browser: Browser, site: LiveServer) -> None:
    with window(browser, site) as w:
        page = w.go("/signin")
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.get_by_label("Email")).to_be_focused()
        page.keyboard.type("owner@example.org")
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/keys")
        page.get_by_label("Name", exact=True).focus()
        page.keyboard.type("by keyboard")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Your new key")
        w.go("/catalog/google/gemini-2.5-flash-lite-preview")
        page.locator(".tabs input").first.focus()
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        expect(page.locator(".panel:visible")).to_contain_text("curl http")
        w.go("/docs")
        page.keyboard.press("/")
        page.keyboard.type("structured")
        expect(page.locator(".found a").first).to_be_visible()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Structured outputs")


def _hello() -> dict[str, object]:
    return {
        "model": "google/gemini-2.5-flash-lite-preview",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 5,
    }
