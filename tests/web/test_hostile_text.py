"""Scripts, endless words and text from right to left, wherever text can come from: it is shown as text, and nothing runs."""

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.fakes.openai import API_KEY, FakeOpenAI
from tests.fakes.openai import MODEL as UPSTREAM_MODEL
from tests.fakes.server import in_a_thread
from tests.live import LiveServer, serving
from tests.web import places
from tests.web.accessible import disorder, foreign_parts, overflow, violations
from tests.web.browser import Window, make_owner, window

SCRIPT = "<script>alert(1)</script>"
IMAGE = "\"'><img src=x onerror=alert(2)>"
ENDLESS = "W" * 100
RIGHT_TO_LEFT = "\u200fשלום עולם مرحبا بالعالم"
NAMES = (SCRIPT, IMAGE, ENDLESS, RIGHT_TO_LEFT, "{{ 7*7 }} ${7*7} <%= 7*7 %>", "javascript:alert(3)")
MODEL = "acme/" + "w" * 190
NAMED = f"{IMAGE} {'M' * 60} {RIGHT_TO_LEFT}"
WORDS = (
    f"{SCRIPT} {IMAGE} <svg onload=alert(4)> [click](javascript:alert(5)) ![image](https://evil.test/track.png)\n\n",
    f"# {IMAGE}\n\n{ENDLESS}{ENDLESS}\n\n{RIGHT_TO_LEFT}\n\n",
    f"| {SCRIPT} | b |\n|---|---|\n| {ENDLESS} | {IMAGE} |\n\n",
    "```html\n<script>alert(6)</script>\n```\n\n<style>body{display:none}</style><meta http-equiv=refresh content='0;url=https://evil.test'>",
)
TYPED = "input:not([type=hidden], [type=checkbox], [type=radio], [readonly]), textarea"
QUERIES = (
    "/search?q={}",
    "/catalog?q={}&can={}",
    "/catalog/{}",
    "/docs/{}",
    "/signin?next={}",
    "/welcome/{}",
    "/playground?model={}",
    "/usage?range={}&key={}",
    "/usage/billing?type={}&from={}",
    "/usage/requests?model={}&key={}&status={}",
    "/usage/requests?id={}",
    "/usage/requests/{}",
    "/keys/{}",
    "/people/{}",
    "/operator?after={}",
    "/operator/book?account={}&booked={}",
    "/{}",
)
"""Everything that reads something from its address."""

MORE = ("/usage?range=24h", "/usage/billing?type=PAYMENT", f"/search?q={quote(SCRIPT)}")


class Talker(FakeOpenAI):
    """A model that says the worst."""

    TEXT = WORDS


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A service whose model, key names, accounts, people and notes are as bad as they can be."""
    home = tmp_path_factory.mktemp("hostile") / "home"
    home.mkdir()
    with in_a_thread(Talker()) as talker, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACME_API_KEY", API_KEY)
        fields = {"id": MODEL, "name": NAMED, "developer": IMAGE, "description": SCRIPT + ENDLESS, "tags": [SCRIPT]}
        route = f'routes = [{{ upstream = "acme", model = "{UPSTREAM_MODEL}" }}]'
        upstream = f'[upstreams.acme]\ndialect = "openai"\nbase_url = "{talker.base_url}"\nkey_variable = "ACME_API_KEY"\n\n'
        model = "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())
        price = 'context_length = 4096\nprice = { prompt = "1", completion = "2" }\n'
        (home / "tollway.toml").write_text(f"{upstream}[[models]]\n{model}{price}{route}\n")
        with serving(home, home / "models", local_models="none", signup="open") as live:
            make_owner(browser, live)
            _fill(browser, live)
            yield live


def _fill(browser: Browser, live: LiveServer) -> None:
    for name in NAMES:
        live.cli("accounts", "create", "--", name)
    with window(browser, live) as w:
        w.sign_in()
        for name in NAMES:
            page = w.go("/keys")
            page.get_by_label("Name", exact=True).fill(name)
            page.get_by_role("button", name="Create key").click()
            expect(page.locator(".secret")).to_be_visible()
            expect(page.locator(".once bdi")).to_have_text(name)
            live.key = page.locator(".secret code").inner_text()
            assert live.request("POST", "/v1/chat/completions", places.hello(MODEL))[0] == 200
            page = w.go("/operator/book?account=owner")
            page.get_by_label("US dollars").fill("1")
            page.get_by_label("Note").fill(name)
            page.get_by_role("button", name="Review").click()
            page.get_by_role("button", name="Book it").click()
            expect(page.locator("[role=status] bdi").nth(1)).to_have_text(name)


def looked_at(page: Page) -> list[str]:
    page.evaluate("() => document.querySelectorAll('main details:not(.ask)').forEach((e) => { e.open = true; })")
    return [*foreign_parts(page), *overflow(page), *disorder(page), *violations(page)]


def test_it_is_text_on_every_page(browser: Browser, site: LiveServer) -> None:
    """In the narrowest window, which endless words overflow first."""
    found: dict[str, list[str]] = {}
    with window(browser, site, "narrow", "dark") as visitor, window(browser, site, "narrow", "dark") as owner:
        owner.sign_in()
        it = places.known(owner, MODEL)
        for w, signed_in in ((visitor, False), (owner, True)):
            for path in (*places.one_of_each(it, signed_in=signed_in).values(), *MORE * signed_in):
                found[path] = looked_at(w.go(path))
        page = owner.go(f"/catalog/{quote(MODEL)}")
        expect(page.get_by_role("heading", level=1)).to_have_text(" ".join(NAMED.split()))
        found["the model"] = looked_at(page)
        page = owner.go("/keys")
        assert {name.strip() for name in page.locator("li.key h3").all_inner_texts()} >= set(NAMES)
        link = visitor.go("/catalog").locator(".model-card a", has_text="M" * 60)
        link.click()
        expect(visitor.page.get_by_role("heading", level=1)).to_have_text(" ".join(NAMED.split()))
    assert {path: told for path, told in found.items() if told} == {}


def test_it_is_text_when_a_model_says_it(browser: Browser, site: LiveServer) -> None:
    with window(browser, site, "narrow") as w:
        w.sign_in()
        page = w.go(f"/playground?model={quote(MODEL)}")
        page.locator("#system").fill(SCRIPT)
        page.get_by_label("Text of the message").first.fill(IMAGE)
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.locator("[data-ended]").first).to_have_text("stop")
        box = page.locator("[data-answer]").first
        for text in (SCRIPT, IMAGE, ENDLESS, "<svg onload=alert(4)>", "<style>body{display:none}</style>"):
            expect(box).to_contain_text(text)
        assert looked_at(page) == []
        assert box.locator("script, img, svg, style, meta, iframe").count() == 0
        assert [link.get_attribute("href") for link in box.locator("a").all()] == ["https://evil.test/track.png"]
        page.reload()
        expect(page.get_by_label("Text of the message").first).to_have_value(IMAGE)


def test_it_is_text_in_every_address(browser: Browser, site: LiveServer) -> None:
    found: dict[str, list[str]] = {}
    with window(browser, site) as visitor, window(browser, site) as owner:
        owner.sign_in()
        for w in (visitor, owner):
            for query in QUERIES:
                for text in (SCRIPT, IMAGE, "javascript:alert(7)//"):
                    path = query.replace("{}", quote(text, safe=""))
                    answer = w.page.goto(site.url + path)
                    assert answer is not None
                    assert answer.status < 500, path
                    found[path] = foreign_parts(w.page)
    assert {path: told for path, told in found.items() if told} == {}


def test_it_is_text_in_every_field_of_every_form(browser: Browser, site: LiveServer) -> None:
    """Sent without the browser's own checks, as it would be by somebody who wants to."""
    with window(browser, site) as visitor, window(browser, site) as owner:
        owner.sign_in()
        it = places.known(owner, MODEL)
        sent = 0
        for w, signed_in in ((visitor, False), (owner, True)):
            for path in places.one_of_each(it, signed_in=signed_in).values():
                for number in range(_forms(w.go(path)).count()):
                    for text in (SCRIPT, IMAGE):
                        _send(w, path, number, text)
                        sent += 1
        assert sent > 20


def _forms(page: Page) -> Locator:
    """Those into which something is typed; the playground sends nothing by itself, and the search has its own address."""
    return page.locator("main form:not([data-playground])").filter(has=page.locator(TYPED))


def _send(w: Window, path: str, number: int, text: str) -> None:
    form = _forms(w.go(path)).nth(number)
    with w.page.expect_navigation() as navigation:
        form.evaluate(
            """(form, [typed, text]) => {
              for (const field of form.querySelectorAll(typed)) {
                if (field.tagName === "INPUT") field.type = "text";
                field.value = text;
              }
              form.noValidate = true;
              form.requestSubmit();
            }""",
            [TYPED, text],
        )
    assert navigation.value.status < 500, f"{path}, form {number}"
    assert foreign_parts(w.page) == []
