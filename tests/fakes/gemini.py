"""A strict stand-in for the Gemini API: a real HTTP server that refuses what Google would refuse.

Requests are checked against Google's own protocol buffers and then against the rules in gemini_rules.py; what is wrong gets
Google's error and is noted in `complaints`. `python -m tests.fakes --dialect gemini` runs one by hand.
"""

import base64
import json
import re
from typing import Any

from google.ai.generativelanguage_v1beta.types import GenerateContentRequest, GenerateContentResponse
from google.protobuf import json_format
from tests.fakes.faults import Received, Reply, failing
from tests.fakes.gemini_actor import act
from tests.fakes.gemini_rules import Refusal, broken_rules
from tests.fakes.server import FakeServer

KEY = "AIza-fake-key-of-the-operator"
MODELS = (
    "gemini-2.5-flash-lite",
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gemini-2.0-flash",
    "gemini-3.5-flash-lite",
    "gemini-flash-latest",
)

_CALL = re.compile(r"/(?:v1|v1beta)/models/([^/:]+):(generateContent|streamGenerateContent)")
_LIST = re.compile(r"/(?:v1|v1beta)/models(?:/([^/:]+))?")


def text_event(
    text: str, *, finish: str | None = None, prompt: int = 7, candidates: int | None = None, **more: Any
) -> dict[str, Any]:
    """An event with a piece of text, the last one when it has a finish reason."""
    return event([{"text": text}], finish=finish, usage=usage(prompt, candidates), **more)


def event(
    parts: list[dict[str, Any]] | None, *, finish: str | None = None, usage: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    candidate: dict[str, Any] = {} if parts is None else {"content": {"parts": parts, "role": "model"}}
    if finish is not None:
        candidate["finishReason"] = finish
    made: dict[str, Any] = {"candidates": [candidate], "modelVersion": "gemini-2.5-flash-lite", "responseId": "r1", **more}
    return made if usage is None else {**made, "usageMetadata": usage}


def usage(prompt: int, candidates: int | None = None, thoughts: int | None = None, **more: Any) -> dict[str, Any]:
    counts = {"promptTokenCount": prompt, "candidatesTokenCount": candidates, "thoughtsTokenCount": thoughts}
    given = {name: count for name, count in counts.items() if count is not None}
    return {**given, "totalTokenCount": sum(given.values()), **more}


def framed(*events: dict[str, Any], line_end: str = "\r\n") -> Reply:
    """A stream of these events, each its own step; they need not be valid."""
    return Reply([f"data: {json.dumps(each, ensure_ascii=False)}{line_end}{line_end}".encode() for each in events])


def streamed(*events: dict[str, Any]) -> Reply:
    """A stream of these events, which Google's own types know."""
    for each in events:
        strictly(each, GenerateContentResponse)
    return framed(*events)


HELLO = (text_event("Hello"), text_event(" wörld", finish="STOP", candidates=3))


def error_reply(refusal: Refusal, *, in_array: bool = False, retry_after: str | None = None) -> Reply:
    body = {"error": refusal.body}
    encoded = json.dumps([body] if in_array else body, indent=2).encode()
    return failing(refusal.status, encoded, retry_after=retry_after)


def strictly(value: dict[str, Any], kind: Any) -> Any:
    """The message of Google's type. Raises json_format.ParseError for unknown fields and wrong types."""
    return json_format.ParseDict(value, kind.pb(kind()), ignore_unknown_fields=False)


class FakeGemini(FakeServer):
    """Answers as gemini_actor.py does, "Hello wörld" to most, unless a test has queued something else."""

    def __init__(self, *, key: str = KEY, models: tuple[str, ...] = MODELS) -> None:
        super().__init__()
        self.key = key
        self.models = models

    @property
    def base_url(self) -> str:
        """As an upstream's `base_url`."""
        return self.url + "/v1beta"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was asked, in order."""
        return [json.loads(received.body) for received in self.received if received.method == "POST"]

    async def answer(self, received: Received) -> Reply:
        if received.method == "GET" and (listed := _LIST.fullmatch(received.path)):
            return self._models(listed[1])
        try:
            stream, body = self._check(received)
        except Refusal as refusal:
            self.complaints.append(refusal.message)
            return error_reply(refusal, in_array="stream" in received.path)
        reply = self.next_queued() or streamed(*act(body))
        return reply if stream or reply.status != 200 else _folded(reply)

    def _models(self, name: str | None) -> Reply:
        rows = [
            {
                "name": f"models/{model}",
                "displayName": model,
                "inputTokenLimit": 1_048_576,
                "outputTokenLimit": 65_536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
            }
            for model in self.models
        ]
        if name is None:
            return Reply([json.dumps({"models": rows}).encode()], content_type="application/json")
        row = next((row for row in rows if row["name"] == f"models/{name}"), None)
        if row is None:
            return error_reply(Refusal(404, "NOT_FOUND", f"models/{name} is not found for API version v1beta."))
        return Reply([json.dumps(row).encode()], content_type="application/json")

    def _check(self, received: Received) -> tuple[bool, dict[str, Any]]:
        """Whether a stream is asked for, and the body as Google reads it. Raises the Refusal of a request that is not valid."""
        called = _CALL.fullmatch(received.path)
        if called is None or received.method != "POST":
            raise Refusal(404, "NOT_FOUND", f"{received.method} {received.path} was not found.")
        model, method = called[1], called[2]
        self._authenticate(received)
        if model not in self.models:
            raise Refusal(404, "NOT_FOUND", f"models/{model} is not found for API version v1beta, or is not supported.")
        if method == "streamGenerateContent" and received.query.get("alt") != "sse":
            raise Refusal(400, "INVALID_ARGUMENT", "This fake streams only with alt=sse.")
        if len(received.body) > 20 * 2**20:
            raise Refusal(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes.")
        try:
            message = strictly(_with_types_in_capitals(json.loads(received.body)), GenerateContentRequest)
        except (ValueError, json_format.ParseError) as error:
            raise _unreadable(str(error)) from None
        body: dict[str, Any] = json_format.MessageToDict(message)
        for broken in broken_rules(model, body):
            raise broken
        return method == "streamGenerateContent", body

    def _authenticate(self, received: Received) -> None:
        if "key" in received.query:
            raise Refusal(400, "INVALID_ARGUMENT", "This fake takes no key in the URL: it would end up in logs.")
        key = received.headers.get("x-goog-api-key")
        if key is None:
            raise Refusal(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
        if key != self.key:
            info = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }
            raise Refusal(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [info])


def _unreadable(text: str) -> Refusal:
    """As Google says it: a field that it does not know, or a value that does not fit."""
    unknown = re.search(r'has no field named "([^"]*)" at "(?:[^".]*\.)?([^"]*)"', text)
    if unknown is None:
        return Refusal(400, "INVALID_ARGUMENT", f"Invalid value: {text[:300]}")
    message = f"Invalid JSON payload received. Unknown name \"{unknown[1]}\" at '{unknown[2]}': Cannot find field."
    violations = {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": unknown[2], "description": message}],
    }
    return Refusal(400, "INVALID_ARGUMENT", message, [violations])


def _with_types_in_capitals(value: Any, *, in_schema: bool = False) -> Any:
    """The live API takes the types of its own schemas in small letters, too; Google's JSON parser does not."""
    if isinstance(value, list):
        return [_with_types_in_capitals(item, in_schema=in_schema) for item in value]
    if not isinstance(value, dict):
        return value
    capitals = {}
    for name, item in value.items():
        inside = in_schema or name in ("parameters", "responseSchema", "response_schema")
        if in_schema and name == "type" and isinstance(item, str):
            capitals[name] = item.upper()
        elif name.endswith(("JsonSchema", "json_schema")):
            capitals[name] = item
        else:
            capitals[name] = _with_types_in_capitals(item, in_schema=inside)
    return capitals


def _folded(reply: Reply) -> Reply:
    """The answer of a stream in one piece, as `generateContent` gives it."""
    events = [json.loads(step.removeprefix(b"data: ")) for step in reply.steps if isinstance(step, bytes)]
    whole = dict(events[-1])
    parts = [
        part
        for each in events
        for candidate in each.get("candidates", [])
        for part in candidate.get("content", {}).get("parts", [])
    ]
    if whole.get("candidates") and parts:
        text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
        rest = [part for part in parts if "text" not in part or part.get("thought")]
        content = {"role": "model", "parts": [*([{"text": text}] if text else []), *rest]}
        whole["candidates"] = [{**whole["candidates"][0], "content": content}]
    return Reply([json.dumps(whole).encode()], content_type="application/json")


def signature(text: str = "thought") -> str:
    """A thought signature; it is base64, and opaque."""
    return base64.b64encode(text.encode()).decode()
