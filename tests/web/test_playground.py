"""The playground: streams, stops, compares, and runs nothing that a model writes."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from tests.live import LOCAL_MODEL, MODEL, LiveServer
from tests.web.browser import Window, window

CHAT = "**/v1/chat/completions"
NASTY = (
    "<script>alert(1)</script> <img src=x onerror=alert(2)> <svg onload=alert(3)>\n\n"
    "[click](javascript:alert(4)) [data](data:text/html,<script>alert(5)</script>) [fine](https://example.org/a)\n\n"
    "![image](https://evil.test/track.png)\n\n"
    "# <b>heading</b>\n\n- `<i>code</i>`\n- **<u>bold</u>**\n\n```html\n<script>alert(6)</script>\n```\n\n"
    "| a | <b>b</b> |\n|---|---|\n| <script>alert(7)</script> | 2 |\n\n> quote <iframe src=javascript:alert(8)>\n\n"
    "1. one\n2. two"
)


@pytest.fixture
def play(browser: Browser, site: LiveServer) -> Iterator[Window]:
    with window(browser, site) as w:
        w.sign_in()
        w.go("/playground")
        yield w


def say(page: Page, text: str, tokens: int | None = 24) -> None:
    page.get_by_label("Text of the message").first.fill(text)
    if tokens:
        page.locator("#p-max_completion_tokens").fill(str(tokens))
    page.get_by_role("button", name="Run").click()


def answer(page: Page, text: str, *, done: bool = True) -> None:
    """Makes the endpoint answer with this text, in pieces."""
    head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [head | {"choices": [{"index": 0, "delta": {"content": text[n : n + 7]}}]} for n in range(0, len(text), 7)]
    chunks.append(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    frames = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + (["data: [DONE]\n\n"] if done else [])

    def fulfil(route: Route) -> None:
        route.fulfill(status=200, content_type="text/event-stream", body="".join(frames))

    page.route(CHAT, fulfil)


def test_an_answer_streams_and_says_what_it_took(play: Window) -> None:
    page = play.page
    say(page, "Count to five.")
    expect(page.locator("[data-ended]").first).to_have_text(re.compile("stop|length"))
    assert page.locator("[data-answer]").first.inner_text().strip()
    expect(page.locator("[data-first]").first).to_have_text(re.compile(r"[\d,]+ ms"))
    expect(page.locator("[data-tokens]").first).to_have_text(re.compile(r"\d+ \+ \d+"))
    expect(page.locator("[data-cost]").first).to_have_text(re.compile(r"\$0\.0\d+"))
    raw = page.locator("[data-raw-response]").first.text_content() or ""
    assert "HTTP 200" in raw
    assert "x-inference-id" in raw
    assert "data: [DONE]" in raw
    assert len(re.findall(r"\+\d+ ms  data: ", raw)) > 3
    code = page.locator("[data-code]").text_content() or ""
    assert '"content": "Count to five."' in code
    assert '"max_completion_tokens": 24' in code
    assert "<YOUR_API_KEY>" in code


def test_a_stand_in_is_named_at_the_choice_and_at_the_answer(play: Window) -> None:
    page = play.page
    said, answered = page.locator("[data-stood-in]").first, page.locator("[data-answered-by]").first
    page.get_by_label("Model 1").select_option(MODEL)
    expect(said).to_have_text(f"Answered by {LOCAL_MODEL} in its place: it has no upstream here.")
    say(page, "Hello", tokens=6)
    expect(answered).to_have_text(f"Answered by {LOCAL_MODEL}, in place of {MODEL}.")
    page.get_by_label("Model 1").select_option(LOCAL_MODEL)
    expect(said).to_be_hidden()
    page.get_by_role("button", name="Run").click()
    expect(page.locator("[data-ended]").first).to_have_text(re.compile("stop|length"))
    expect(answered).to_be_hidden()


def test_stop_keeps_the_text(play: Window) -> None:
    page = play.page
    say(page, "Write a very long story about a river.", tokens=600)
    expect(page.locator("[data-answer]").first).to_contain_text(re.compile(r"\w+ \w+ \w+"))
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("[data-ended]").first).to_have_text("stopped")
    kept = page.locator("[data-answer]").first.inner_text()
    assert len(kept.split()) >= 3
    page.get_by_role("button", name="Go on with this answer").first.click()
    assert page.get_by_label("Role of the message").nth(1).input_value() == "assistant"


def test_two_models_are_compared_side_by_side(play: Window) -> None:
    page = play.page
    page.get_by_role("button", name="Compare").click()
    say(page, "Say hi.", tokens=6)
    for pane in (0, 1):
        expect(page.locator("[data-ended]").nth(pane)).to_have_text(re.compile("stop|length"))
    models = [page.locator("[data-raw-request]").nth(pane).text_content() or "" for pane in (0, 1)]
    assert models[0] != models[1]


def test_nothing_that_a_model_writes_runs(play: Window) -> None:
    page = play.page
    answer(page, NASTY)
    say(page, NASTY)
    expect(page.locator("[data-ended]").first).to_have_text("stop")
    box = page.locator("[data-answer]").first
    expect(box.locator("li")).to_have_count(4)
    assert box.locator("script, img, svg, iframe, b, u, i").count() == 0
    assert [link.get_attribute("href") for link in box.locator("a").all()] == [
        "https://example.org/a",
        "https://evil.test/track.png",
    ]
    expect(box).to_contain_text("<script>alert(1)</script>")
    expect(box.locator("pre")).to_have_text("<script>alert(6)</script>")
    expect(box.locator("table td").first).to_have_text("<script>alert(7)</script>")
    page.reload()  # what was typed is back, and is still text
    expect(page.get_by_label("Text of the message").first).to_have_value(NASTY)


def test_a_connection_that_breaks_keeps_what_came(play: Window) -> None:
    answer(play.page, "Half of an answ", done=False)
    say(play.page, "Hello")
    expect(play.page.locator("[data-ended]").first).to_have_text("connection lost")
    expect(play.page.locator("[data-answer]").first).to_contain_text("Half of an answ")
    expect(play.page.locator("[data-answer]").first).to_contain_text("The connection broke")


def test_errors_are_told_in_the_servers_words(play: Window) -> None:
    page = play.page
    page.locator("#p-logit_bias").evaluate("(e) => { e.closest('details').open = true; }")
    page.locator("#p-logit_bias").fill('{"1": 500}')
    say(page, "Hello")
    expect(page.locator("[data-answer] .problem")).to_contain_text("logit_bias")
    expect(page.locator("[data-answer] .problem")).to_contain_text("request ")


@pytest.mark.parametrize(("field", "value"), [("temperature", "3"), ("tools", "[{"), ("n", "0"), ("seed", "1.5")])
def test_what_is_out_of_bounds_is_said_before_it_is_sent(play: Window, field: str, value: str) -> None:
    page = play.page
    page.locator(f"#p-{field}").evaluate("(e) => { e.closest('details').open = true; }")
    page.locator(f"#p-{field}").fill(value)
    say(page, "Hello")
    expect(page.locator("[data-problem]")).to_contain_text(field)
    expect(page.locator(f"#p-{field}")).to_be_focused()
    expect(page.locator("[data-ended]").first).to_have_text("–")


def test_a_session_that_is_over_loses_nothing(play: Window) -> None:
    play.context.clear_cookies()
    say(play.page, "Keep this text")
    expect(play.page.locator("[data-answer] .problem").first).to_contain_text("Sign in - what you typed is kept.")
    expect(play.page.get_by_label("Text of the message").first).to_have_value("Keep this text")


def test_choices_have_the_numbers_of_their_places(play: Window) -> None:
    page = play.page
    head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [
        head | {"choices": [{"index": n, "delta": {"content": text}}]} for n, text in ((2, "three"), (0, "one"), (1, "two"))
    ]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    page.route(CHAT, lambda route: route.fulfill(status=200, content_type="text/event-stream", body=body))
    say(page, "Hello")
    expect(page.locator("[data-ended]").first).to_have_text("done")
    expect(page.locator("[data-answer] p").first).to_have_text("Choice 1")
    assert page.locator("[data-answer]").first.inner_text().split() == [
        "Choice",
        "1",
        "one",
        "Choice",
        "2",
        "two",
        "Choice",
        "3",
        "three",
    ]


def test_a_run_that_takes_the_place_of_another_is_shown_as_running(play: Window) -> None:
    page = play.page
    page.route(CHAT, lambda route: None)  # no answer comes
    say(page, "Hello")
    expect(page.locator("[data-ended]").first).to_have_text("running")
    page.get_by_label("Text of the message").first.press("Control+Enter")
    page.wait_for_timeout(500)
    expect(page.locator("[data-ended]").first).to_have_text("running")
    expect(page.locator("[data-answer]").first).to_have_attribute("aria-busy", "true")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("[data-ended]").first).to_have_text("stopped")


def test_text_is_kept_where_images_are_too_large(play: Window) -> None:
    page = play.page
    image = {"name": "large.png", "mimeType": "image/png", "buffer": bytes(4_500_000)}
    page.locator("input[type=file]").set_input_files(image)  # type: ignore[arg-type]
    expect(page.get_by_role("button", name="Remove image 1")).to_be_visible()
    page.get_by_label("Text of the message").first.fill("Keep this")
    page.reload()
    expect(page.get_by_label("Text of the message").first).to_have_value("Keep this")


def test_a_text_that_looks_like_a_number_is_a_text(play: Window) -> None:
    page = play.page
    page.locator("#p-stop").evaluate("(e) => { e.closest('details').open = true; }")
    for typed, sent in (("2", '"stop": "2"'), ("null", '"stop": "null"'), ('["2"]', '"stop": [')):
        page.locator("#p-stop").fill(typed)
        expect(page.locator("[data-code]")).to_contain_text(sent)


def test_copying_leaves_the_focus_and_says_whether_it_did(browser: Browser, site: LiveServer) -> None:
    with window(browser, site) as w:
        w.context.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as on plain http
        page = w.go("/")
        button = page.get_by_role("button", name="Copy").first
        for can, said in ((True, "Copied"), (False, "Not copied")):
            page.evaluate(f"() => {{ document.execCommand = () => {str(can).lower()}; }}")
            button.focus()
            page.keyboard.press("Enter")
            expect(page.locator("#status")).to_have_text(said)
            assert page.evaluate("document.activeElement.tagName") == "BUTTON"
            expect(page.get_by_role("button", name="Copy").first).to_be_visible()
            page.wait_for_timeout(1700)


def test_a_long_line_is_looked_through_once(play: Window) -> None:
    took = play.page.evaluate(
        """async () => {
          const { markdown } = await import("/static/x/markdown.js");
          const began = performance.now();
          markdown("a | b\\n" + "-".repeat(200_000) + "x");
          return performance.now() - began;
        }"""
    )
    assert took < 2000


def test_tools_and_schemas_have_examples_that_work(play: Window) -> None:
    page = play.page
    for name in ("response_format", "tools"):
        page.locator(f"#p-{name}").evaluate("(e) => { e.closest('details').open = true; }")
    page.get_by_role("button", name="Example of response_format").click()
    say(page, "A city as JSON", tokens=80)
    expect(page.locator("[data-ended]").first).to_have_text(re.compile("stop|length"))
    expect(page.locator("[data-answer]").first).to_contain_text('"city"')
    page.locator("#p-response_format").fill("")
    page.get_by_role("button", name="Example of tools").click()
    page.locator("#p-tool_choice").fill("required")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("[data-ended]").first).to_have_text("tool_calls")
    expect(page.locator(".call").first).to_contain_text("get_weather")
