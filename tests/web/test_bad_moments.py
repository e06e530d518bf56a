"""What goes wrong between a person and the service: a clear message, and nothing is lost or done twice."""

import re
from dataclasses import replace

from playwright.sync_api import Browser, Page, expect
from tests.faults.proxy import CuttingProxy
from tests.live import LiveServer
from tests.web.browser import OWNER, PASSWORD, window
from tests.web.places import invited, make_link, sign_up


def make_key(page: Page, name: str) -> str:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Create key").click()
    expect(page.locator(".secret")).to_be_visible()
    return page.locator(".secret code").inner_text()


def test_a_wrong_password_is_told_where_one_goes_on(browser: Browser, site: LiveServer) -> None:
    with window(browser, site) as w:
        page = w.go("/signin?next=/usage")
        page.get_by_label("Email").fill(OWNER)
        page.get_by_label("Password").fill("not the password")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The email address or the password is wrong.")
        expect(page.get_by_role("alert")).to_be_focused()  # a screen reader reads it, and the form comes next
        expect(page.get_by_label("Email")).to_have_value(OWNER)
        page.keyboard.press("Tab")
        expect(page.get_by_label("Email")).to_be_focused()
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Usage")


def test_a_button_that_is_pressed_twice_does_it_once(browser: Browser, site: LiveServer) -> None:
    with window(browser, site) as w, window(browser, site) as guest:
        w.sign_in()
        page = w.go("/keys")
        page.get_by_label("Name", exact=True).fill("twice")
        page.get_by_role("button", name="Create key").dblclick()
        expect(page.get_by_role("heading", level=1)).to_have_text("Your new key")
        secret = page.locator(".secret code").inner_text()
        card = w.go("/keys").locator("li.key", has_text=secret[:8])
        card.locator("summary", has_text="Rotate").click()
        card.get_by_label("The old secret").select_option("0")
        card.get_by_role("button", name="Make a new secret").dblclick()
        expect(page.get_by_role("heading", level=1)).to_have_text("The key's new secret")
        site.key, kept = page.locator(".secret code").inner_text(), site.key
        try:
            assert site.request("GET", "/v1/key")[0] == 200
        finally:
            site.key = kept
        page = w.go("/operator/book?account=owner")
        page.get_by_label("US dollars").fill("3")
        page.get_by_label("Note").fill("pressed twice")
        page.get_by_role("button", name="Review").dblclick()
        page.get_by_role("button", name="Book it").dblclick()
        expect(page.get_by_role("status").first).to_contain_text("Booked.")
        expect(w.go("/usage/billing?type=PAYMENT").locator("tbody tr", has_text="pressed twice")).to_have_count(1)

        guest.page.goto(make_link(w))
        sign_up(guest.page, "twice@example.org", "")
        guest.page.get_by_label("The same again").fill(PASSWORD)
        guest.page.get_by_label("Password", exact=True).fill(PASSWORD)
        guest.page.get_by_role("button", name="Sign up").dblclick()
        expect(guest.page.get_by_role("heading", level=1)).to_have_text("API keys")


def test_one_can_go_back_and_send_a_form_again(browser: Browser, site: LiveServer) -> None:
    with window(browser, site) as w:
        w.sign_in()
        first = make_key(w.page, "once")
        w.page.go_back()
        second = make_key(w.page, "and once more")
        assert first != second


def test_a_key_that_was_deleted_in_another_tab(browser: Browser, site: LiveServer) -> None:
    gone = "There is no such key any more. It may have been deleted in another window."
    with window(browser, site) as w:
        w.sign_in()
        once, stale, edit = w.page, w.context.new_page(), w.context.new_page()
        secret = make_key(once, "in three tabs")
        stale.goto(f"{site.url}/keys")
        card = stale.locator("li.key", has_text=secret[:8])
        edit.goto(f"{site.url}/keys/{card.get_attribute('id')}")
        other = w.context.new_page()
        other.goto(f"{site.url}/keys")
        there = other.locator("li.key", has_text=secret[:8])
        there.locator("summary", has_text="Delete").click()
        there.get_by_role("button", name="Delete for good").click()
        expect(there).to_have_count(0)

        once.get_by_role("button", name="Try it now").click()
        expect(once.locator("[data-result]")).to_contain_text("It did not work:")
        card.get_by_role("switch").click()
        expect(stale.locator("main")).to_contain_text(gone)
        edit.get_by_label("Name", exact=True).fill("another name")
        edit.get_by_role("button", name="Save").click()
        expect(edit.locator("main")).to_contain_text(gone)


def test_a_connection_that_is_lost_in_mid_stream(browser: Browser, site: LiveServer) -> None:
    story = "Write a very long story about a river."
    line = CuttingProxy(site.port)
    with window(browser, replace(site, port=line.port)) as w:
        w.sign_in()
        page = w.go("/playground")
        page.get_by_label("Text of the message").first.fill(story)
        page.locator("#p-max_completion_tokens").fill("1500")
        page.get_by_role("button", name="Run", exact=True).click()
        answer = page.locator("[data-answer]").first
        expect(answer).to_contain_text(re.compile(r"\w+ \w+ \w+"))
        line.stop()
        expect(page.locator("[data-ended]").first).to_have_text("connection lost")
        expect(answer.get_by_role("alert")).to_have_text("The connection broke before the end. What came is kept.")
        assert len(answer.inner_text().split()) > 10
        page.get_by_role("button", name="Go on with this answer").click()
        kept = page.get_by_label("Text of the message").nth(1).input_value()
        assert len(kept.split()) > 2
        page.get_by_role("button", name="Run", exact=True).click()
        expect(answer.get_by_role("alert")).to_contain_text("The server cannot be reached. Nothing was lost: try again.")
        expect(page.get_by_label("Text of the message").first).to_have_value(story)
        expect(page.get_by_label("Text of the message").nth(1)).to_have_value(kept)


def test_who_is_removed_in_another_window_is_told_so(browser: Browser, site: LiveServer) -> None:
    with window(browser, site) as w:
        w.sign_in()
        person = invited(w)
        stale = w.go(f"/people/{person}")
        other = w.context.new_page()
        other.goto(f"{site.url}/people/{person}")
        other.get_by_text("Remove …").click()
        other.get_by_role("button", name="Remove for good").click()
        expect(other.get_by_role("heading", level=1)).to_have_text("People")
        stale.get_by_role("button", name="Make a link").click()
        expect(stale.locator("main")).to_contain_text("There is no such person any more.")
