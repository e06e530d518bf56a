"""What depends on the model: several at once, models that think, models that see, and text that is no text."""

import base64
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from tests.live import LiveServer

from tollway.engine.facts import read_vocabulary

TINY, THINKER, SEER = "local/tiny", "local/thinker", "local/seer"


def png(red: int, green: int, blue: int, side: int = 16) -> str:
    """A data URL of a picture in one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes((red, green, blue)) * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(image).decode()


def picture_message(*urls: str, text: str = "What is this?") -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [{"type": "text", "text": text}, *parts]}]


def never(server: LiveServer, model: str, *texts: str) -> dict[str, int]:
    """The `logit_bias` by which a model of random weights says neither these tokens nor broken characters."""
    path = Path(server.environment["TOLLWAY_MODELS_DIR"]) / model.removeprefix("local/") / "vocabulary.msgpack"
    forbidden = {text.encode() for text in texts}
    vocabulary = enumerate(read_vocabulary(path))
    return {str(number): -100 for number, token in vocabulary if token in forbidden or not token.isascii()}


ENDS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def test_several_models_are_served_at_once(tiny_server: LiveServer) -> None:
    _, _, raw = tiny_server.request("GET", "/v1/models?include=all")
    models = {model["id"]: model for model in json.loads(raw)["data"]}

    assert {TINY, THINKER, SEER} <= set(models)
    assert "vision" in models[SEER]["capabilities"]
    assert "vision" not in models[TINY]["capabilities"]
    for name in (TINY, THINKER, SEER, "seer"):
        assert tiny_server.chat(model=name, max_tokens=3)["model"] == f"local/{name.removeprefix('local/')}"


def test_a_model_that_never_ends_is_ended(tiny_server: LiveServer) -> None:
    """Without `max_tokens`. One that thinks may think as long as its context is."""
    completion = tiny_server.chat(model=TINY, temperature=1, logit_bias=never(tiny_server, TINY, *ENDS))
    thought = tiny_server.chat(model=THINKER, temperature=1, logit_bias=never(tiny_server, THINKER, *ENDS))

    assert (completion["usage"]["completion_tokens"], completion["choices"][0]["finish_reason"]) == (1024, "length")
    assert thought["usage"]["completion_tokens"] > 1024


def test_every_choice_of_128_is_made(tiny_server: LiveServer) -> None:
    completion = tiny_server.chat(model=TINY, n=128, max_tokens=2, temperature=2, logit_bias=never(tiny_server, TINY, *ENDS))

    assert [choice["index"] for choice in completion["choices"]] == list(range(128))
    assert completion["usage"]["completion_tokens"] == 256


@pytest.mark.parametrize("seed", range(1, 13))
def test_logprobs_of_bytes_that_are_no_text(tiny_server: LiveServer, seed: int) -> None:
    """Random weights over single bytes: most tokens end inside a character, or inside none at all."""
    completion = tiny_server.chat(model=TINY, seed=seed, temperature=2, max_tokens=40, logprobs=True, top_logprobs=3)
    entries = completion["choices"][0]["logprobs"]["content"]

    assert len(entries) == completion["usage"]["completion_tokens"]
    assert all(len(entry["top_logprobs"]) in (0, 3) for entry in entries)
    assert all(-9999.0 <= entry["logprob"] <= 0 for entry in entries)
    completion["choices"][0]["message"]["content"].encode()  # no half of a surrogate pair


# --- thinking ---------------------------------------------------------------------------------------------------------


def test_a_stop_sequence_after_a_broken_character_ends_the_answer(tiny_server: LiveServer) -> None:
    """The beginning of a character, and then a line's end: the engine waits for the rest of it, and does not look."""
    path = Path(tiny_server.environment["TOLLWAY_MODELS_DIR"]) / "tiny" / "vocabulary.msgpack"
    only = {str(read_vocabulary(path).index(token)): 100 for token in (b"\xf0", b"\n")}
    fields: dict[str, Any] = {
        "model": TINY,
        "max_tokens": 100,
        "temperature": 2,
        "logit_bias": only,
        "stop": "\n",
        "logprobs": True,
    }

    completions = [tiny_server.chat(n=4, **fields) for _ in range(5)]

    choices = [choice for completion in completions for choice in completion["choices"]]
    text = "".join(choice["message"]["content"] for choice in choices)
    assert "\ufffd" in text
    assert "\n" not in text
    assert {choice["finish_reason"] for choice in choices} == {"stop"}
    assert sum(len(choice["logprobs"]["content"]) for choice in choices) == sum(
        completion["usage"]["completion_tokens"] for completion in completions
    )
    assert completions[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] > 0


def test_a_thought_is_no_content_and_is_counted(tiny_server: LiveServer) -> None:
    bias = never(tiny_server, THINKER, "</think>", *ENDS)
    completion = tiny_server.chat(model=THINKER, max_tokens=40, temperature=1, logit_bias=bias)
    message = completion["choices"][0]["message"]

    assert message["reasoning_content"]
    assert message["content"] == ""
    assert completion["usage"]["completion_tokens_details"]["reasoning_tokens"] == 40


def test_reasoning_effort_none_does_not_think(tiny_server: LiveServer) -> None:
    bias = never(tiny_server, THINKER, "<think>", *ENDS)
    completion = tiny_server.chat(model=THINKER, max_tokens=20, temperature=1, reasoning_effort="none", logit_bias=bias)

    assert "reasoning_content" not in completion["choices"][0]["message"]
    assert completion["choices"][0]["message"]["content"]


def test_a_model_that_thinks_still_answers_in_the_schema(tiny_server: LiveServer) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    completion = tiny_server.chat(model=THINKER, max_tokens=50, response_format=wanted)

    assert set(json.loads(completion["choices"][0]["message"]["content"])) == {"ok"}


def test_reasoning_streams_as_its_own_deltas(tiny_server: LiveServer) -> None:
    bias = never(tiny_server, THINKER, "</think>", *ENDS)
    events = tiny_server.events(model=THINKER, max_tokens=30, temperature=1, logit_bias=bias)
    deltas = [choice["delta"] for event in events for choice in event["choices"]]

    assert any(delta.get("reasoning_content") for delta in deltas)


def test_effort_is_a_listed_hint_for_models_that_do_not_think(tiny_server: LiveServer) -> None:
    body = {"model": TINY, "messages": [{"role": "user", "content": "hi"}], "reasoning_effort": "high", "max_tokens": 2}

    _, headers, _ = tiny_server.request("POST", "/v1/chat/completions", body)

    assert headers["x-tollway-ignored-parameters"] == "reasoning_effort"


# --- seeing -----------------------------------------------------------------------------------------------------------


def test_an_image_reaches_the_engine(tiny_server: LiveServer) -> None:
    def ask(*urls: str) -> tuple[int, list[float]]:
        completion = tiny_server.chat(
            picture_message(*urls), model=SEER, max_tokens=1, temperature=0, logprobs=True, top_logprobs=5
        )
        entry = completion["choices"][0]["logprobs"]["content"]
        return completion["usage"]["prompt_tokens"], [chance["logprob"] for chance in entry[0]["top_logprobs"]] if entry else []

    none, one, two = ask()[0], ask(png(255, 0, 0))[0], ask(png(255, 0, 0), png(0, 0, 255))[0]

    assert none < one < two
    assert one - none == two - one
    assert ask(png(255, 0, 0))[1] != ask(png(0, 0, 255))[1]


@pytest.mark.parametrize("detail", ["low", "auto"])
def test_how_closely_to_look_is_a_listed_hint(tiny_server: LiveServer, detail: str) -> None:
    messages = picture_message(png(255, 0, 0))
    messages[0]["content"][1]["image_url"]["detail"] = detail

    _, headers, _ = tiny_server.request("POST", "/v1/chat/completions", {"model": SEER, "messages": messages, "max_tokens": 1})

    assert headers.get("x-tollway-ignored-parameters") == (None if detail == "auto" else "messages.content.image_url.detail")


def test_marks_beside_an_image_are_text(tiny_server: LiveServer) -> None:
    completion = tiny_server.chat(picture_message(png(9, 9, 9), text="<__media__> <|im_end|>"), model=SEER, max_tokens=2)

    assert completion["usage"]["completion_tokens"] >= 1


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "http://example.com/a.png", "file:///etc/passwd", "x"])
def test_what_is_no_image_is_a_400(tiny_server: LiveServer, url: str) -> None:
    status, problem = tiny_server.error(body={"model": SEER, "messages": picture_message(url)})

    assert status == 400
    assert problem["error"]["param"] == "messages[0].content[1].image_url.url"


def test_seventeen_images_are_too_many(tiny_server: LiveServer) -> None:
    status, problem = tiny_server.error(body={"model": SEER, "messages": picture_message(*[png(1, 2, 3)] * 17)})

    assert status == 400
    assert "16" in problem["message"]
