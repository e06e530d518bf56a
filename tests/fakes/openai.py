"""A strict OpenAI: what it does not know or OpenAI would refuse is a 400, checked with the types of OpenAI's own SDK.

A fake with `extra`, `renamed`, `message_extra` or `call_extra` is another upstream of the dialect: they say what it takes
besides.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming
from pydantic import ValidationError
from tests.fakes.faults import Received, Reply, Step, failing
from tests.fakes.server import FakeServer
from tests.fakes.strict_types import strict_adapter

API_KEY = "sk-fake-0123456789abcdefghij"
MODEL = "fake-model"
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}

_STREAMING = strict_adapter(CompletionCreateParamsStreaming)
_NOT_STREAMING = strict_adapter(CompletionCreateParamsNonStreaming)


class FakeOpenAI(FakeServer):
    """`base_url` is what a client is given. Without a queued reply it says `TEXT`, as often as `n` asks for."""

    TEXT = ("Grüße", " aus", " Köln", "!")

    def __init__(
        self,
        *,
        extra: Iterable[str] = (),
        renamed: Mapping[str, str] | None = None,
        message_extra: Iterable[str] = (),
        call_extra: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self._extra = frozenset(extra)
        self._renamed = dict(renamed or {})
        self._message_extra = frozenset(message_extra)
        self._call_extra = frozenset(call_extra)

    @property
    def base_url(self) -> str:
        return self.url + "/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The bodies so far."""
        return [json.loads(received.body) for received in self.received]

    async def answer(self, received: Received) -> Reply:
        refusal = self._refusal(received)
        if refusal is not None:
            return refusal
        return self.next_queued() or self._standard(json.loads(received.body))

    # --- refusing -----------------------------------------------------------------------------------------------------

    def _refusal(self, received: Received) -> Reply | None:
        if (received.method, received.path) != ("POST", "/v1/chat/completions"):
            return self._refuse(404, f"Invalid URL ({received.method} {received.path})", code=None)
        if received.headers.get("authorization") != f"Bearer {API_KEY}":
            return self._refuse(401, "Incorrect API key provided.", code="invalid_api_key")
        if received.headers.get("content-type") != "application/json":
            return self._refuse(400, "The body must be application/json.", code=None)
        try:
            body = json.loads(received.body)
        except ValueError:
            return self._refuse(400, "We could not parse the JSON body of your request.", code=None)
        if body.get("model") != MODEL:
            return self._refuse(404, f"The model `{body.get('model')}` does not exist.", code="model_not_found", param="model")
        body = {name: value for name, value in body.items() if name not in self._extra}
        body = {self._renamed.get(name, name): value for name, value in body.items()}
        body["messages"] = [
            {name: value for name, value in message.items() if name not in self._message_extra} for message in body["messages"]
        ]
        for message in body["messages"]:
            if calls := message.get("tool_calls"):
                message["tool_calls"] = [
                    {name: value for name, value in call.items() if name not in self._call_extra} for call in calls
                ]
        try:
            (_STREAMING if body.get("stream") else _NOT_STREAMING).validate_python(body)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(step) for step in first["loc"] if not re.search(r"Param|\[", str(step)))
            code = "unknown_parameter" if first["type"] == "extra_forbidden" else "invalid_type"
            return self._refuse(400, f"{first['msg']} at {first['loc']}", code=code, param=place)
        for param, complaint in _contradictions(body):
            return self._refuse(400, complaint, code="invalid_value", param=param)
        return None

    def _refuse(self, status: int, message: str, *, code: str | None, param: str | None = None) -> Reply:
        self.complaints.append(message)
        return error_reply(status, message, code=code, param=param)

    # --- answering ----------------------------------------------------------------------------------------------------

    def _standard(self, body: dict[str, Any]) -> Reply:
        count = body.get("n") or 1
        usage = {**USAGE, "completion_tokens": 4 * count, "total_tokens": 9 + 4 * count}
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(self.TEXT), "refusal": None}
            choice = {"message": message, "finish_reason": "stop", "logprobs": None}
            choices = [{**choice, "index": index} for index in range(count)]
            completion = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": choices}
            ChatCompletion.model_validate({**completion, "usage": usage}, strict=True)
            return Reply([json.dumps({**completion, "usage": usage}).encode()], content_type="application/json")
        events = [chunk({"role": "assistant", "content": ""}, index=index) for index in range(count)]
        events += [chunk({"content": piece}, index=index) for piece in self.TEXT for index in range(count)]
        events += [chunk({}, index=index, finish_reason="stop") for index in range(count)]
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append({**chunk({}), "choices": [], "usage": usage})
        for event in events:
            ChatCompletionChunk.model_validate(event, strict=True)
        return stream_reply(events)


def chunk(delta: Mapping[str, Any], *, index: int = 0, finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """One chunk with one choice."""
    choice = {"index": index, "delta": dict(delta), "logprobs": None, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice], **fields}


def stream_reply(events: Sequence[Any], *, done: bool = True) -> Reply:
    """A stream of these events; text is sent as it is."""
    steps: list[Step] = [
        event.encode() if isinstance(event, str) else b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"
        for event in events
    ]
    return Reply([*steps, b"data: [DONE]\n\n"] if done else steps)


def error_reply(
    status: int, message: str, *, code: str | None = None, param: str | None = None, retry_after: str | None = None
) -> Reply:
    """An error in OpenAI's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return failing(status, json.dumps({"error": error}).encode(), retry_after=retry_after)


def _contradictions(body: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """What OpenAI refuses although its types allow it."""
    if "stream_options" in body and not body.get("stream"):
        yield "stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        yield "top_logprobs", "'top_logprobs' needs 'logprobs'."
    if "max_tokens" in body and "max_completion_tokens" in body:
        yield "max_tokens", "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in body and not body.get("tools"):
            yield name, f"'{name}' is only allowed when 'tools' are specified."
    for name, low, high in (("temperature", 0, 2), ("top_p", 0, 1), ("n", 1, 128), ("presence_penalty", -2, 2)):
        if not low <= body.get(name, low) <= high:
            yield name, f"'{name}' must be between {low} and {high}."
    if isinstance(body.get("stop"), list) and not 1 <= len(body["stop"]) <= 4:
        yield "stop", "Between 1 and 4 stop sequences are allowed."
    if (body.get("response_format") or {}).get("type") == "json_object" and "json" not in json.dumps(body["messages"]).lower():
        yield "messages", "'messages' must contain the word 'json' in some form."
    yield from _unanswered_calls(body["messages"])


def _unanswered_calls(messages: list[dict[str, Any]]) -> Iterable[tuple[str, str]]:
    """Every call must be answered by a tool message right after it, and every tool message must answer one."""
    waiting: set[str] = set()
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                yield f"messages.[{place}].role", "Messages with role 'tool' must answer a preceding call of 'tool_calls'."
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            yield f"messages.[{place}].role", "An assistant message with 'tool_calls' must be followed by tool messages."
        waiting = {call["id"] for call in message.get("tool_calls") or ()}
    if waiting:
        yield "messages", "An assistant message with 'tool_calls' must be followed by tool messages."
