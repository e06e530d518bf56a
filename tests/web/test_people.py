"""People come, change their password, and go, in several browsers at once."""

from playwright.sync_api import Browser, Page, expect
from tests.live import LiveServer
from tests.web.accessible import overflow, violations
from tests.web.browser import PASSWORD, Window, window

NEW = "another horse, another battery"


def invited(page: Page, owner: Window, email: str) -> None:
    """Signs up by a link that the owner makes."""
    owner.go("/people").get_by_role("button", name="Make a link").click()
    page.goto(owner.page.locator(".secret code").inner_text())
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    page.wait_for_url("**/keys")


def sign_in(page: Page, site: LiveServer, email: str, password: str) -> None:
    page.goto(f"{site.url}/signin")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_a_new_password_ends_the_other_sessions(browser: Browser, site: LiveServer) -> None:
    email = "ana@example.org"
    with window(browser, site) as owner, window(browser, site, "phone", "dark") as ana, window(browser, site) as elsewhere:
        owner.sign_in()
        invited(ana.page, owner, email)
        sign_in(elsewhere.page, site, email, PASSWORD)
        elsewhere.page.wait_for_url("**/keys")
        page = ana.go("/keys")
        page.locator(".me summary").click()
        page.get_by_role("link", name="Your account").click()
        expect(page.get_by_text("In 2 browsers")).to_be_visible()
        assert [*violations(page), *overflow(page)] == []
        for present, told in (("not my password", "not your present password"), (PASSWORD, "Your password is changed")):
            page.get_by_label("Present password").fill(present)
            page.get_by_label("New password").fill(NEW)
            page.get_by_label("The new one again").fill(NEW)
            page.get_by_role("button", name="Change the password").click()
            expect(page.locator("main")).to_contain_text(told)
        ana.go("/keys")
        expect(page.get_by_role("heading", level=1)).to_have_text("API keys")
        elsewhere.go("/keys")
        expect(elsewhere.page.get_by_role("heading", level=1)).to_have_text("Sign in")
        sign_in(elsewhere.page, site, email, PASSWORD)
        expect(elsewhere.page.get_by_role("alert")).to_contain_text("is wrong")
        sign_in(elsewhere.page, site, email, NEW)
        elsewhere.page.wait_for_url("**/keys")


def test_an_owner_closes_a_way_in_and_removes_a_person(browser: Browser, site: LiveServer) -> None:
    email = "ben@example.org"
    with window(browser, site) as owner, window(browser, site) as ben:
        owner.sign_in()
        invited(ben.page, owner, email)
        ben.page.get_by_label("Name", exact=True).fill("ben's program")
        ben.page.get_by_role("button", name="Create key").click()
        secret = ben.page.locator(".secret code").inner_text()
        page = owner.go("/people")
        page.get_by_role("link", name=email).click()
        assert [*violations(page), *overflow(page)] == []
        expect(page.get_by_label("Disable the account's API key").first).to_be_checked()
        page.get_by_role("button", name="Close it").click()
        expect(page.get_by_role("heading", name="Open their way in")).to_be_visible()
        ben.go("/usage")
        expect(ben.page.get_by_role("heading", level=1)).to_have_text("Sign in")
        sign_in(ben.page, site, email, PASSWORD)
        expect(ben.page.get_by_role("alert")).to_contain_text("Your way in was closed")
        site.key, kept = secret, site.key
        try:
            status, problem = site.error(body={"model": "x", "messages": []})
            assert (status, problem["error"]["data"]["kind"]) == (401, "err_key_disabled")
        finally:
            site.key = kept
        page.get_by_role("button", name="Open it").click()
        sign_in(ben.page, site, email, PASSWORD)
        ben.page.wait_for_url("**/keys")
        page.get_by_text("Remove …").click()
        page.get_by_role("button", name="Remove for good").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("People")
        expect(page.get_by_text(email)).to_have_count(0)
        ben.page.get_by_label("Name", exact=True).fill("too late")
        ben.page.get_by_role("button", name="Create key").click()
        expect(ben.page.locator("main")).to_contain_text("Your session is over")


def test_the_list_of_people_fits_a_phone(browser: Browser, site: LiveServer) -> None:
    email = f"somebody.with.a.long.name@{'that' * 12}.example.org"
    with window(browser, site, "narrow") as owner, window(browser, site) as guest:
        owner.sign_in()
        invited(guest.page, owner, email)
        page = owner.go("/people")
        expect(page.get_by_role("link", name=email)).to_be_visible()
        wide = page.locator(".scroll").evaluate_all("all => all.filter((e) => e.scrollWidth > e.clientWidth).length")
        assert wide == 0
        assert overflow(page) == []
