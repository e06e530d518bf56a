"""The whole way, as a person goes it: with a mouse, with a finger, and with the keyboard alone."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.live import LiveServer, serving
from tests.web.accessible import disorder, overflow, violations
from tests.web.browser import OWNER, PASSWORD, Scheme, Size, Window, owner_link, window
from tests.web.hands import Hands, Keyboard, Mouse
from tests.web.places import hello

ANSWERED = re.compile(r"It answered in [\d,]+ ms, for \$0\.\d+: “.+”", re.DOTALL)


@pytest.fixture
def unowned(browser: Browser, models_path: Path, tmp_path: Path) -> Iterator[LiveServer]:
    """A service of its own, which nobody owns yet."""
    with serving(tmp_path / "home", models_path, engine_slots="1", engine_threads="1") as live:
        yield live


@pytest.mark.parametrize(
    ("size", "scheme", "hands"),
    [("desktop", "light", Mouse), ("phone", "dark", Mouse), ("desktop", "dark", Keyboard), ("phone", "light", Keyboard)],
)
def test_from_the_printed_link_to_a_refusal(
    browser: Browser, unowned: LiveServer, size: Size, scheme: Scheme, hands: type[Mouse] | type[Keyboard]
) -> None:
    with window(browser, unowned, size, scheme) as w:
        way = Way(w, hands(w.page))
        way.become_the_owner()
        way.find_nothing_yet()
        secret = way.make_a_key("first program שלום")
        called = way.call_with(secret)
        played, cost = way.play()
        way.find_the_charges(called, played, cost)
        way.disable_the_key_and_enable_it(secret)
        way.delete_the_key(secret)
        way.leave()


@dataclass
class Way:
    """The steps of somebody new. Each begins where the one before has ended."""

    w: Window
    hands: Hands

    @property
    def page(self) -> Page:
        return self.w.page

    def become_the_owner(self) -> None:
        self.w.go(owner_link(self.w.server))
        self.hands.arrive()
        self.hands.type(self.page.get_by_label("Email"), OWNER)
        self.hands.type(self.page.get_by_label("Password", exact=True), PASSWORD)
        self.hands.type(self.page.get_by_label("The same again"), PASSWORD)
        self.hands.press(self.page.get_by_role("button", name="Sign up"))
        self._expect_heading("API keys")
        with window(self.w.context.browser, self.w.server) as late:  # type: ignore[arg-type]
            expect(late.go(owner_link(self.w.server)).locator("main")).to_contain_text("used already")

    def find_nothing_yet(self) -> None:
        for path, told in (("/usage", "There were no requests"), ("/usage/requests", "There were no requests yet")):
            page = self.w.go(path)
            expect(page.locator("main")).to_contain_text(told)
            assert [*violations(page), *overflow(page), *disorder(page)] == []
        self.w.go("/keys")

    def make_a_key(self, name: str) -> str:
        self.hands.arrive()
        self.hands.type(self.page.get_by_label("Name", exact=True), name)
        self.hands.press(self.page.get_by_role("button", name="Create key"))
        self._expect_heading("Your new key")
        secret = self.page.locator(".secret code").inner_text()
        assert re.fullmatch(r"tw_\w{36}", secret)
        return secret

    def call_with(self, secret: str) -> str:
        """Two first calls: from the page, and from a program, whose request id is returned."""
        self.hands.arrive()
        button = self.page.get_by_role("button", name="Try it now")
        self.hands.press(button)
        expect(self.page.locator("[data-result]")).to_contain_text(ANSWERED)
        self.hands.keeps(button)
        self.w.server.key = secret
        status, headers, raw = self.w.server.request("POST", "/v1/chat/completions", hello())
        assert status == 200, raw
        return headers["x-request-id"]

    def play(self) -> tuple[str, str]:
        """The inference id of the playground's answer, and its cost as shown."""
        self._follow("Playground")
        self._expect_heading("Playground")
        self.hands.arrive()
        self.hands.type(self.page.get_by_label("Text of the message").first, "Name three rivers.")
        self.hands.type(self.page.locator("#p-max_completion_tokens"), "16")
        run = self.page.get_by_role("button", name="Run", exact=True)
        self.hands.press(run)
        expect(self.page.locator("[data-ended]").first).to_have_text(re.compile("stop|length"))
        expect(self.page.locator("#status")).to_have_text("The answer is complete")
        self.hands.keeps(run)
        assert self.page.locator("[data-answer]").first.inner_text().strip()
        raw = self.page.locator("[data-raw-response]").first.text_content() or ""
        (inference_id,) = re.findall(r"^x-inference-id: (\S+)$", raw, re.MULTILINE)
        return inference_id, self.page.locator("[data-cost]").first.inner_text()

    def find_the_charges(self, called: str, played: str, cost: str) -> None:
        self._follow("Usage")
        self._expect_heading("Usage")
        self.hands.press(self.page.get_by_role("navigation", name="Usage").get_by_role("link", name="Billing"))
        self._expect_heading("Billing")
        rows = self.page.locator("tbody tr")
        expect(rows).to_have_count(4)  # the first grant, and three answers
        expect(rows.first.locator(".out")).to_have_text(f"−{cost}")
        expect(self.page.locator(f'a[href="/usage/requests/{called}"]')).to_have_count(1)
        self.hands.arrive()
        self.hands.press(rows.first.get_by_role("link", name="Receipt"))
        self._expect_heading("Receipt")
        expect(self.page.locator("main")).to_contain_text(played)
        expect(self.page.locator("tfoot")).to_contain_text(cost)

    def disable_the_key_and_enable_it(self, secret: str) -> None:
        self._follow("Keys")
        self._expect_heading("API keys")
        switch = self._card(secret).get_by_role("switch")
        for state, status, kind in (("false", 401, "err_key_disabled"), ("true", 200, None)):
            self.hands.press(switch)
            expect(switch).to_have_attribute("aria-checked", state)
            assert self._call() == (status, kind)

    def delete_the_key(self, secret: str) -> None:
        card = self._card(secret)
        question, sure = card.locator("summary", has_text="Delete"), card.get_by_role("button", name="Delete for good")
        self.hands.press(question)
        expect(sure).to_be_visible()
        self.page.keyboard.press("Escape")
        expect(sure).to_be_hidden()
        self.hands.keeps(question)
        self.hands.press(question)
        self.hands.press(sure)
        expect(card).to_have_count(0)
        assert self._call()[0] == 401

    def leave(self) -> None:
        self.hands.press(self.page.locator(".me summary"))
        self.hands.press(self.page.get_by_role("button", name="Sign out"))
        self._expect_heading("One road to every model.")
        self.w.go("/keys")
        self._expect_heading("Sign in")

    def _call(self) -> tuple[int, str | None]:
        status, _, raw = self.w.server.request("POST", "/v1/chat/completions", hello())
        return status, None if status == 200 else json.loads(raw)["error"].get("data", {}).get("kind")

    def _card(self, secret: str) -> Locator:
        return self.page.locator("li.key", has_text=secret[:8])

    def _follow(self, name: str) -> None:
        self.hands.press(self.page.get_by_role("navigation", name="Main").get_by_role("link", name=name, exact=True))

    def _expect_heading(self, text: str) -> None:
        expect(self.page.get_by_role("heading", level=1)).to_have_text(text)


def test_the_start_page_calls_with_a_key_or_with_the_session(browser: Browser, site: LiveServer) -> None:
    with window(browser, site, "phone") as w:
        page = w.go("/")
        page.get_by_role("button", name="Try it now").click()
        expect(page.locator("[data-result]")).to_have_text("Put your API key in first.")
        expect(page.get_by_label("Your API key")).to_be_focused()
        page.keyboard.type("<img src=x>")
        expect(page.locator(".panel:visible")).to_contain_text("<YOUR_API_KEY>")
        page.get_by_label("Your API key").fill("tw_ключ")
        page.get_by_role("button", name="Try it now").click()
        expect(page.locator("[data-result]")).to_have_text("Put your API key in first.")
        page.get_by_label("Your API key").fill("tw_wrong")
        page.keyboard.press("Enter")
        expect(page.locator("[data-result]")).to_contain_text("It did not work")
        page.route("**/v1/chat/completions", lambda route: route.abort())
        page.get_by_role("button", name="Try it now").click()
        expect(page.locator("[data-result]")).to_contain_text("The server cannot be reached")
        page.unroute_all()
        page.get_by_label("Your API key").fill(site.key)
        expect(page.locator(".panel:visible")).to_contain_text(site.key)
        page.get_by_role("button", name="Try it now").click()
        expect(page.locator("[data-result]")).to_have_text(ANSWERED)
        page.reload()
        assert site.key not in page.content()
        expect(page.locator(".sign")).to_contain_text(re.compile(r"First word, on average\s*[\d.]+ m?s"))
        w.sign_in()
        page = w.go("/")
        page.get_by_role("button", name="Try it now").click()
        expect(page.locator("[data-result]")).to_have_text(ANSWERED)
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


def test_tabs_search_and_menus_with_the_keyboard(browser: Browser, site: LiveServer) -> None:
    with window(browser, site) as w:
        w.sign_in()
        page = w.go("/catalog/google/gemini-2.5-flash-lite-preview")
        page.locator(".tabs input").first.focus()
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        expect(page.locator(".panel:visible")).to_contain_text("curl http")
        page.locator(".me summary").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Your account")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator(".me summary")).to_be_focused()
        expect(page.get_by_role("link", name="Your account")).to_be_hidden()
        w.go("/docs")
        page.keyboard.press("/")
        page.keyboard.type("structured")
        expect(page.locator(".found a").first).to_be_visible()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Escape")
        expect(page.get_by_label("Search", exact=True)).to_be_focused()
        expect(page.locator(".found")).to_have_count(0)
        page.keyboard.press("Control+A")
        page.keyboard.type("structured outputs")
        expect(page.locator(".found a").first).to_be_visible()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Structured outputs")


def test_the_focus_is_never_lost_in_the_playground(browser: Browser, site: LiveServer) -> None:
    with window(browser, site) as w:
        w.sign_in()
        page = w.go("/playground")
        keyboard, hands = page.keyboard, Keyboard(page)
        texts = page.get_by_label("Text of the message")
        hands.press(page.get_by_role("button", name="Message", exact=True))
        expect(texts.nth(1)).to_be_focused()
        keyboard.type("the second")
        keyboard.press("Shift+Tab")
        expect(page.get_by_role("button", name="Remove").nth(1)).to_be_focused()
        keyboard.press("Enter")
        expect(texts).to_have_count(1)
        expect(texts.first).to_be_focused()
        keyboard.type("Write a very long story.")
        hands.type(page.locator("#p-max_completion_tokens"), "500")
        hands.press(page.get_by_role("button", name="Run", exact=True))
        expect(page.locator("[data-answer]").first).to_contain_text(re.compile(r"\w+ \w+"))
        keyboard.press("Shift+Tab")
        expect(page.get_by_role("button", name="Stop")).to_be_focused()
        keyboard.press("Enter")
        expect(page.locator("[data-ended]").first).to_have_text("stopped")
        expect(page.locator("#status")).to_have_text("Stopped. What came is kept.")
        expect(page.get_by_role("button", name="Run", exact=True)).to_be_focused()
        hands.press(page.get_by_role("button", name="Run", exact=True))
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        keyboard.press("Escape")
        expect(page.locator("[data-ended]").first).to_have_text("stopped")
        expect(page.get_by_role("button", name="Run", exact=True)).to_be_focused()
        assert disorder(page) == []
        assert violations(page) == []
