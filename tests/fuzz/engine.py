"""Hostile schemas, tools and parameters for the real engine, while somebody else asks it plain questions."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema_rs
from hypothesis import strategies as st
from tests.faults.mortal import descendants
from tests.fuzz.hostile_http import tiny_service
from tests.fuzz.target import Target, World
from tests.fuzz.values import junk, texts
from tests.live import LiveServer
from tests.unit.constrain.test_fuzz import DOCUMENTS, JUNK, PATTERNS, SCHEMAS
from tests.unit.constrain.test_limits import BOMBS, LARGE

ANSWER_SECONDS_MAX = 60.0
OTHERS_SECONDS_MAX = 30.0
MODEL = "local/tiny"

_bombs = st.sampled_from(sorted({**BOMBS, **LARGE})).map(lambda name: {"bomb": name})
_patterns = (
    PATTERNS
    | st.text(alphabet='ab01()[]{}|*+?^$.\\dwsDWS-,<>!=:/é"\n', max_size=14)
    | st.sampled_from(
        ["^(a+)+$", "^((((((((((a?){9}){9}){9}){9}))))))$", "(?=a)b", "\\p{L}+", "(" * 90 + ")" * 90, "[^]", "a{1000000}"]
    )
)
_schemas = (
    DOCUMENTS
    | SCHEMAS
    | JUNK
    | st.builds(lambda pattern: {"type": "string", "pattern": pattern}, _patterns)
    | st.builds(lambda a, b: {"type": "object", "properties": {a: {"const": b}}, "required": [a]}, texts, junk)
    | st.builds(lambda values: {"enum": values}, st.lists(texts | junk, min_size=1, max_size=4))
)
_parameters = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0, 1e-30, 0.7, 2]),
        "top_p": st.sampled_from([0.01, 1]),
        "top_k": st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**53]),
        "min_p": st.sampled_from([0, 1]),
        "repetition_penalty": st.sampled_from([1e-9, 0.5, 2, 1e9]),
        "frequency_penalty": st.sampled_from([-2, 2]),
        "presence_penalty": st.sampled_from([-2, 2]),
        "seed": st.sampled_from([1, 2**32 - 1, 2**32, 2**53, 10**30]),
        "stop": st.lists(texts, max_size=4) | texts,
        "n": st.sampled_from([1, 2, 8]),
        "logprobs": st.just(value=True),
        "top_logprobs": st.sampled_from([0, 20]),
        "logit_bias": st.dictionaries(st.sampled_from(["0", "1", "65", "200", "999999", "4294967296"]),
        st.sampled_from([-100, 0, 100]), max_size=3),
        "stream": st.booleans(),
        "reasoning_effort": st.sampled_from(["none", "low", "high"]),
        "prediction": st.builds(lambda text: {"type": "content", "content": text}, texts),
        "max_tokens": st.sampled_from([1, 2, 100]),
    },
)  # fmt: skip
_wanted = st.fixed_dictionaries(
    {"how": st.sampled_from(["schema", "schema", "tool", "auto", "both"]), "schema": _schemas | _bombs, "fields": _parameters}
)
_texts = st.fixed_dictionaries({"how": st.just("text"), "schema": st.just(None), "fields": _parameters, "content": texts})


def check_engine(case: dict[str, Any], world: World) -> None:
    """It is a 400, or what comes validates; the engine lives, and meanwhile it answers others."""
    server = world.get(tiny_service)
    engine = engine_of(server)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(_timed, lambda: server.chat(model=MODEL, max_tokens=1))
        seconds, (status, body) = _timed(lambda: _ask(server, case))
        others_seconds, _ = other.result(120)
    assert seconds < ANSWER_SECONDS_MAX
    assert others_seconds < OTHERS_SECONDS_MAX
    assert engine_of(server) == engine, "the engine has died"
    assert status in (200, 400), f"{status} {body[:300]}"
    if status == 200:
        for choice in _choices(body):
            _check_choice(case, choice)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    result = work()
    return time.monotonic() - began, result


def engine_of(server: LiveServer) -> list[int]:
    """The process ids of its engines."""
    return [each for each in descendants(server.process.pid) if b"engine.child" in Path(f"/proc/{each}/cmdline").read_bytes()]


def _schema_of(case: dict[str, Any]) -> Any:
    schema = case["schema"]
    if isinstance(schema, dict) and set(schema) == {"bomb"}:
        return {**BOMBS, **LARGE}[schema["bomb"]]
    return schema


def _ask(server: LiveServer, case: dict[str, Any]) -> tuple[int, str]:
    schema, how = _schema_of(case), case["how"]
    fields = {"max_tokens": 100, **case["fields"]}
    if how in ("schema", "both"):
        fields["response_format"] = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}
    if how in ("tool", "auto", "both"):
        fields["tools"] = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
        fields["tool_choice"] = "required" if how == "tool" else "auto"
    body = {"model": MODEL, "messages": [{"role": "user", "content": case.get("content", "Hi")}], **fields}
    try:
        data = json.dumps(body).encode()
    except RecursionError:  # Python cannot write it; others can
        return 400, ""
    status, _, raw = server.request("POST", "/v1/chat/completions", data)
    return status, raw.decode()


def _choices(body: str) -> list[dict[str, Any]]:
    """(finish_reason, content, arguments of calls) of each choice, streamed or not."""
    if not body.startswith("data: "):
        return [
            {
                "reason": choice["finish_reason"],
                "content": choice["message"]["content"] or "",
                "calls": [call["function"]["arguments"] for call in choice["message"]["tool_calls"] or ()],
            }
            for choice in json.loads(body)["choices"]
        ]
    lines = [line.removeprefix("data: ") for line in body.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]", body[-300:]
    choices: dict[int, dict[str, Any]] = {}
    for line in lines[:-1]:
        for choice in json.loads(line)["choices"]:
            into = choices.setdefault(choice["index"], {"reason": None, "content": "", "calls": []})
            into["reason"] = choice["finish_reason"] or into["reason"]
            into["content"] += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls") or ():
                if call["index"] == len(into["calls"]):
                    into["calls"].append("")
                into["calls"][call["index"]] += call["function"]["arguments"]
    return list(choices.values())


def _check_choice(case: dict[str, Any], choice: dict[str, Any]) -> None:
    assert choice["reason"] in ("stop", "length", "tool_calls"), choice
    if case["how"] == "tool":
        assert choice["calls"] or choice["reason"] == "length", "a forced call did not come"
    schema = _schema_of(case)
    if case["how"] == "text" or choice["reason"] == "length" or case["fields"].get("stop"):
        return
    if schema is None or schema == {}:
        schema = {"type": "object"}
    if "nullable" in json.dumps(schema):
        return  # OpenAPI's, which the validator does not know
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    texts_of_it = choice["calls"] or ([choice["content"]] if case["how"] in ("schema", "both") else [])
    for text in texts_of_it:
        validator.validate(json.loads(text))


TARGETS = (
    Target("engine", "schemas, tools and parameters for the real engine", _wanted, check_engine, 40),
    Target("sampling", "parameters and texts for the real engine", _texts, check_engine, 30),
)
