"""What an OpenAI-compatible upstream sends, narrowly: the fields that are read, and no others."""

from typing import Any

import msgspec
from msgspec import Raw, Struct, field


class FunctionPiece(Struct):
    """The next piece of a call's name and arguments; some upstreams send the arguments as an object."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallPiece(Struct):
    """The next piece of a tool call."""

    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None
    extra_content: Any = None


class ContentPart(Struct):
    """A part of content that is sent in parts: text, or a thought."""

    type: str = "text"
    text: str | None = None
    thinking: "str | list[ContentPart] | None" = None


class UpstreamDelta(Struct):
    """What a chunk adds."""

    content: str | list[ContentPart] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[CallPiece] | None = None


class UpstreamChoice(Struct):
    """One choice of a chunk. `logprobs` are decoded only when they were asked for."""

    index: int | None = 0
    delta: UpstreamDelta | None = None
    finish_reason: str | None = None
    logprobs: Raw = Raw(b"null")


class UpstreamEvent(Struct):
    """A chunk, or an error in its place. `usage` is anything until it is checked."""

    choices: list[UpstreamChoice] | None = None
    usage: Any = None
    error: Any = None


class UpstreamWholeChoice(Struct):
    """One choice of an answer that comes in one piece: all that its chunks would bring."""

    index: int | None = 0
    delta: UpstreamDelta | None = field(default=None, name="message")
    finish_reason: str | None = None
    logprobs: Raw = Raw(b"null")


class UpstreamAnswer(Struct):
    """An answer in one piece, or an error in its place."""

    choices: list[UpstreamWholeChoice] | None = None
    usage: Any = None
    error: Any = None


class UpstreamTopLogprob(Struct):
    """One of the likeliest tokens."""

    token: str
    logprob: float | None = None
    bytes: list[int] | None = None


class UpstreamTokenLogprob(UpstreamTopLogprob):
    """The chosen token."""

    top_logprobs: list[UpstreamTopLogprob] | None = None


class UpstreamLogprobs(Struct):
    """The entries of one chunk."""

    content: list[UpstreamTokenLogprob] | None = None
    refusal: list[UpstreamTokenLogprob] | None = None


decode_event = msgspec.json.Decoder(UpstreamEvent).decode
decode_answer = msgspec.json.Decoder(UpstreamAnswer).decode
decode_events = msgspec.json.Decoder(list[UpstreamEvent]).decode
decode_logprobs = msgspec.json.Decoder(UpstreamLogprobs | None).decode
