"""What Tollway reads, without a server: bodies, streams, files, queries, headers.

Whatever comes is read, or refused as it should be.
"""

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from hypothesis import strategies as st
from starlette.requests import Request
from tests.contract.providers.driving import gemini_route
from tests.contract.providers.openai_support import route_to
from tests.fuzz.target import Target, World
from tests.fuzz.values import almost, junk, scalars, texts

from tollway.api.billing import ENDPOINTS as BILLING
from tollway.api.query import Query, cursor_text
from tollway.api.sessions import refuse_other_origins, session_token
from tollway.api.usage import ENDPOINTS as USAGE
from tollway.catalog import LocalModel, load_catalog, load_configuration
from tollway.errors import BadGateway, Forbidden, GatewayTimeout, InvalidRequest, RateLimited, ServiceUnavailable
from tollway.providers.base import Meter
from tollway.providers.constraint import constraint_for
from tollway.providers.gemini_answer import CallUsage, ChoiceReader, Tally, decode_event
from tollway.providers.gemini_request import check_request as check_for_gemini
from tollway.providers.gemini_request import request_body
from tollway.providers.images import ImageLoader
from tollway.providers.openai_request import check_request, payload_for
from tollway.providers.openai_stream import AnswerReader
from tollway.providers.sse import EventReader
from tollway.settings import Settings, SettingsError, load
from tollway.wire.chat import ChatRequest, ChunkChoice, Usage, encode
from tollway.wire.decode import decode_body, decode_chat_request
from tollway.wire.folding import Fold
from tollway.wire.keys import KeyCreate, KeyPatch, KeyRotate

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 5.0
"""Of computing, for one case. Each takes milliseconds; what takes longer than this is a bomb that went off."""

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": ["integer", "null"]}},
    "required": ["a"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "f", "description": "Does.", "parameters": SCHEMA, "strict": True}}
USER = {"role": "user", "content": "Hello"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
CONVERSATION = [
    {"role": "system", "content": [{"type": "text", "text": "Be brief."}], "name": "s"},
    {"role": "user", "content": [{"type": "text", "text": "Hi"}, IMAGE]},
    {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "hm"},
    {"role": "tool", "tool_call_id": "c1", "content": '{"b": 2}'},
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
    {"role": "function", "name": "f", "content": "3"},
    {"role": "developer", "content": "Go on."},
]
CHATS: list[Any] = [
    {"model": "m", "messages": [USER]},
    {"model": "m", "messages": CONVERSATION, "tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True},
    {"model": "m", "messages": [USER], "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
    {"model": "m", "messages": [USER], "functions": [TOOL["function"]], "function_call": {"name": "f"}},
    {"model": "m", "messages": [USER], "response_format": {"type": "json_schema", "json_schema": {"name": "a",
    "schema": SCHEMA}}},
    {"model": "m", "messages": [USER], "temperature": 0.5, "top_p": 0.9, "n": 2, "stop": ["a"], "max_tokens": 9, "seed": 3,
     "logit_bias": {"5": -100}, "logprobs": True, "top_logprobs": 2, "stream": True,
     "stream_options": {"include_usage": True},
     "frequency_penalty": 1, "presence_penalty": -1, "metadata": {"a": "b"}, "user": "u", "reasoning_effort": "low",
     "prediction": {"type": "content", "content": "x"}, "top_k": 4, "min_p": 0.1, "repetition_penalty": 1.1,
     "service_tier": "auto"},
]  # fmt: skip
KEYS: list[Any] = [
    {"name": "k", "scopes": ["chat"], "models": ["m"], "limit": {"retention": "daily", "threshold": 1.5},
    "expires_at": None,
     "requests_per_minute": 3, "tokens_per_minute": 1000, "concurrency_max": 2},
    {"disabled": True, "name": "k", "limit": None, "expires_at": "2030-01-01T00:00:00Z"},
    {"overlap_seconds": 60},
]  # fmt: skip


@contextlib.contextmanager
def within_seconds() -> Iterator[None]:
    began = time.thread_time()
    yield
    assert time.thread_time() - began < SECONDS_MAX, "it took too long"


def text_of(case: Any) -> bytes:
    """The case as JSON; with `raw` as it is, byte by byte."""
    if isinstance(case, dict) and set(case) == {"raw"}:
        return str(case["raw"]).encode("latin-1", "replace")
    return json.dumps(case).encode()


raws = st.fixed_dictionaries({"raw": st.binary(max_size=60).map(lambda raw: raw.decode("latin-1"))})


# --- requests ---------------------------------------------------------------------------------------------------------

_images = ImageLoader(None)


def check_chat(case: Any, _: World) -> None:
    """It is refused as a 400, or it can be asked of every kind of upstream, or those refuse it as a 400."""
    with within_seconds():
        try:
            request = decode_chat_request(text_of(case))
        except InvalidRequest:
            return
        assert all(isinstance(name, str) for name in request.extra)
        for ask in (_ask_openai, _ask_gemini, constraint_for):
            with contextlib.suppress(InvalidRequest):
                ask(request)


def _ask_openai(request: ChatRequest) -> None:
    route = route_to("http://fake")
    check_request(request, route)
    json.loads(asyncio.run(payload_for(request, route, _images)).data)


def _ask_gemini(request: ChatRequest) -> None:
    route = gemini_route("http://fake", None)
    check_for_gemini(request, route)
    json.dumps(asyncio.run(request_body(request, route, _images, 1000)))


_DECODERS = [msgspec.json.Decoder(kind) for kind in (KeyCreate, KeyPatch, KeyRotate)]


def check_key_bodies(case: Any, _: World) -> None:
    for decoder in _DECODERS:
        with within_seconds(), contextlib.suppress(InvalidRequest):
            decode_body(text_of(case), decoder)


# --- streams ----------------------------------------------------------------------------------------------------------

_LINES = st.sampled_from(
    ["data: {}", "data:", "data", ": x", "event: e", "id: 1", "", "{", "retry: 5", "data: \xff", "\ufeffdata: 1"]
)
streams = st.lists(
    st.tuples(_LINES | st.text(max_size=6), st.sampled_from(["\n", "\r\n", "\r", "\n\n"])).map("".join), max_size=15
).map("".join)


def check_sse(case: str, _: World) -> None:
    """The same events however the bytes are cut."""
    body = case.encode()

    def read(pieces: list[bytes]) -> Any:
        reader = EventReader()
        return [event for piece in pieces for event in reader.feed(piece)] + reader.finish(), bytes(reader.stray)

    whole = read([body])
    assert read([body[at : at + 1] for at in range(len(body))]) == whole
    assert read([body[: len(body) // 2], body[len(body) // 2 :]]) == whole


def _exchanges() -> list[Any]:
    files = sorted((ROOT / "tests/contract/providers/openai_exchanges").glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _openai_cases() -> list[Any]:
    def event(given: Any) -> Any:
        return {"raw": given.removeprefix("data:").strip()} if isinstance(given, str) else given

    return [
        {"request": each["request"], "quirks": each.get("quirks", {}), "stream": [event(each) for each in each["stream"]]}
        for each in _exchanges()
    ]


def check_openai_answer(case: Any, _: World) -> None:
    """Events are read or are an upstream's fault; what was read makes sound chunks, a sound completion and sound figures."""
    request = decode_chat_request(json.dumps({"model": "m", "messages": [USER], **case["request"]}).encode())
    reader = AnswerReader(request, route_to("http://fake", case["quirks"]), 10, Meter())

    def chunks() -> Iterator[ChunkChoice]:
        for event in case["stream"]:
            yield from reader.read([text_of(event)])

    _check_answer(request, chunks(), reader.finish)


def check_gemini_answer(case: Any, _: World) -> None:
    request = decode_chat_request(json.dumps({"model": "m", "messages": [USER], **case["request"]}).encode())
    choice, call, tally = ChoiceReader(0, request), CallUsage(gemini_route("http://x", None), 10), Tally(Meter())

    def chunks() -> Iterator[ChunkChoice]:
        for event in case["events"]:
            found = decode_event(text_of(event))
            made = choice.read(found)
            call.read(made, found.usage_metadata)
            yield from made
        tally.note(call)
        yield from choice.finish()

    _check_answer(request, chunks(), tally.usage)


def _check_answer(request: ChatRequest, chunks: Iterator[ChunkChoice], finish: Callable[[], Usage]) -> None:
    folds = [Fold() for _ in range(request.choices_count)]
    try:
        with within_seconds():
            for chunk in chunks:
                assert 0 <= chunk.index < len(folds)
                encode(chunk)
                folds[chunk.index].add(chunk)
            usage = finish()
            for index, fold in enumerate(folds):
                encode(fold.choice(index))
    except (BadGateway, InvalidRequest, ServiceUnavailable, RateLimited, GatewayTimeout):
        return
    counts = [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]
    assert all(isinstance(count, int) and 0 <= count < 2**53 for count in counts), counts
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    encode(usage)


# --- files and settings -----------------------------------------------------------------------------------------------

_TOML = """
port = 9000
markup = "1.5"

[upstreams.gpu-1]
provider = "vllm"
base_url = "http://10.0.0.5:8000/v1/"
first_token_seconds = 5
quirks = { max_tokens_field = "max_tokens" }

[upstreams.mine]
dialect = "openai"
base_url = "https://mine.example/v1"
key_variable = "MINE_KEY"
attempts_max = 3

[[models]]
id = "acme/chat"
aliases = ["chat"]
context_length = 32768
price = { prompt = 0.5, completion = "1.5" }
capabilities = ["streaming", "tools"]

[[models.routes]]
upstream = "mine"
model = "big"
priority = 1

[[models.routes]]
upstream = "gpu-1"
model = "llama"
weight = 3
"""
_TOML_VALUES = st.sampled_from(
    ['""', '"x"', '"0"', "0", "-1", "1e400", "nan", "inf", "9" * 30, "true", "[]", "{}", "[[]]", "1979-05-27", "07:32:00",
    '"\\u0000"',
     "'''\n'''", "{ a = 1 }", '["a", 1]', "0x7f", "1_000", '"http://[::1"', '"https://h/v1"', '"local"',
     '"' + "9" * 500 + '"', "1e-7"]
) | scalars.map(lambda value: json.dumps(value, ensure_ascii=False))  # fmt: skip


@st.composite
def toml_files(draw: st.DrawFn) -> str:
    """The file above with lines that are changed, doubled, moved or foreign."""
    lines = _TOML.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["value", "value", "name", "double", "drop", "line"])):
            case "value" if "=" in lines[at]:
                lines[at] = lines[at].partition("=")[0] + "= " + draw(_TOML_VALUES)
            case "name" if "=" in lines[at]:
                lines[at] = draw(texts) + " =" + lines[at].partition("=")[2]
            case "double":
                lines.insert(draw(st.integers(0, len(lines))), lines[at])
            case "drop":
                del lines[at]
            case "line":
                lines[at] = draw(
                    texts | st.sampled_from(["[upstreams]", "[[upstreams]]", "[models]", "[a.b.c]", "[[models.routes]]"])
                )
        if not lines:
            break
    return "\n".join(lines)


_LOCAL = LocalModel("small", "Small", "Somebody", 2048, sees=False, thinks=False)


def check_configuration(case: str, _: World) -> None:
    """It is in force as a whole, or it is refused in words."""
    with tempfile.TemporaryDirectory() as folder, within_seconds():
        home = Path(folder)
        (home / "tollway.toml").write_bytes(case.encode("utf-8", "surrogateescape"))
        try:
            settings = load({}, {"TOLLWAY_HOME": folder})
            configuration = load_configuration(settings, {"MINE_KEY": "sk-1"})
        except SettingsError:
            return
        raw = msgspec.json.encode(configuration)
        assert msgspec.json.decode(raw, type=type(configuration)) == configuration
        served = load_catalog([_LOCAL], default_model="small", stand_in=settings.stand_in, configuration=configuration)
        for model in served.models:
            served.resolve(model.id)


_SETTINGS = sorted(set(Settings.__struct_fields__) - {"home", "models_dir"})


def check_settings(case: dict[str, str], _: World) -> None:
    with tempfile.TemporaryDirectory() as folder, within_seconds():
        given = {f"TOLLWAY_{name.upper()}": value for name, value in case.items()} | {"TOLLWAY_HOME": folder}
        try:
            settings = load({}, given)
        except SettingsError:
            return
        assert settings.database
        assert settings.image_hosts is None or isinstance(settings.image_hosts, frozenset)


# --- queries and headers ----------------------------------------------------------------------------------------------

_PARAMETERS = tuple({p.name: p for endpoint in (*BILLING, *USAGE) for p in endpoint.parameters}.values())
_queries = st.lists(
    st.tuples(st.sampled_from([p.name for p in _PARAMETERS]) | texts, texts | junk.map(str)).map(list), max_size=4
)


def check_query(case: list[list[str]], _: World) -> None:
    raw = urlencode([(name, value) for name, value in case], errors="surrogatepass").encode()
    request = Request({"type": "http", "query_string": raw, "headers": [], "method": "GET", "path": "/"})
    with within_seconds():
        try:
            query = Query(request, _PARAMETERS)
        except InvalidRequest:
            return
        reads: list[Callable[[], Any]] = [query.cursor, partial(query.window, 24), partial(query.integer, "limit", 50, 1, 100)]
        for name in (p.name for p in _PARAMETERS):
            reads += [partial(query.text, name), partial(query.moment, name)]
        for read in reads:
            with contextlib.suppress(InvalidRequest):
                read()


def check_cursor(case: Any, _: World) -> None:
    """A cursor that was given is read as it was; any other is refused."""
    text = case if isinstance(case, str) else cursor_text(*case)
    scope = {"type": "http", "query_string": b"cursor=" + _quoted(text), "headers": [], "method": "GET", "path": "/"}
    query = Query(Request(scope), [p for p in _PARAMETERS if p.name == "cursor"])
    try:
        at, number = query.cursor() or (0.0, 0)
    except InvalidRequest:
        assert isinstance(case, str) or not (0 <= case[0] <= 2.0**40 and 0 < case[1] < 2**53)
        return
    assert cursor_text(at, number) == text


def _quoted(text: str) -> bytes:
    return quote(text, safe="", errors="surrogatepass").encode()


def check_headers(case: list[list[str]], _: World) -> None:
    """Cookies and origins that browsers never send."""
    scope = {"headers": [(name.encode("latin-1"), value.encode("utf-8", "surrogatepass")) for name, value in case]}
    token = session_token(scope)
    assert token is None or token
    with contextlib.suppress(Forbidden):
        refuse_other_origins(scope, "https://ai.example.org")


_headers = st.lists(
    st.tuples(
        st.sampled_from(["cookie", "origin", "host"]),
        texts
        | st.sampled_from(
            ["tollway_session=a", 'tollway_session="\\"', "tollway_session=a; x", "http://[", "http://a", "null"]
        ),
    ).map(list),
    max_size=4,
)


def _gemini_cases() -> list[Any]:
    path = ROOT / "tests/contract/providers/gemini/answers.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [
        {"request": row.get("request", {}), "events": row["events"]} for row in rows if row.get("request", {}).get("n", 1) == 1
    ]


def _in(name: str, strategy: "st.SearchStrategy[Any]", seeds: list[Any]) -> "st.SearchStrategy[Any]":
    """A seed of which only `name` is changed."""
    return st.sampled_from(seeds).flatmap(
        lambda seed: almost([seed[name]]).map(
            lambda changed: {**seed, name: changed if isinstance(changed, list) else [changed]}
        )
    )


_cursors = st.tuples(st.floats(allow_nan=False), st.integers(0, 2**63)).map(list)

TARGETS = (
    Target(
        "chat", "bodies of chat completions, and what is asked of upstreams for them", almost(CHATS) | raws, check_chat, 300
    ),
    Target("keys", "bodies of the key endpoints", almost(KEYS) | raws, check_key_bodies),
    Target("sse", "streams of server-sent events, cut anywhere", streams, check_sse),
    Target("openai", "events of OpenAI-compatible upstreams", _in("stream", junk, _openai_cases()), check_openai_answer, 300),
    Target("gemini", "events of Gemini", _in("events", junk, _gemini_cases()), check_gemini_answer, 300),
    Target("configuration", "tollway.toml", toml_files(), check_configuration, 150),
    Target("settings", "settings", st.dictionaries(st.sampled_from(_SETTINGS), texts, min_size=1, max_size=3), check_settings),
    Target("query", "query strings", _queries, check_query),
    Target("cursors", "cursors", _cursors | texts | st.text("ABCab01_-", max_size=20), check_cursor),
    Target("headers", "cookies and origins", _headers, check_headers),
)
