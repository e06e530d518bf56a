"""Gemini's events as chunk choices, and its figures as usage."""

from typing import Any

import msgspec
import structlog
from msgspec import Raw, Struct, field

from tollway import ids
from tollway.catalog import Route
from tollway.errors import BadGateway
from tollway.metering import estimated_tokens
from tollway.providers.base import Meter
from tollway.providers.conversation import callable_tools
from tollway.wire.chat import (
    ChatRequest,
    ChunkChoice,
    CompletionTokensDetails,
    Delta,
    FinishReason,
    FunctionCallDelta,
    PromptTokensDetails,
    ToolCallDelta,
    Usage,
)

log = structlog.get_logger()

IMAGE_TOKENS = 258
"""What Gemini counts for an image that is not large."""

_FINISH_REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "LANGUAGE": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
_BLOCK_REASONS = {
    "SAFETY": "its safety filters",
    "BLOCKLIST": "a blocklist",
    "PROHIBITED_CONTENT": "its rules on prohibited content",
    "IMAGE_SAFETY": "its safety filters for images",
    "MODEL_ARMOR": "its protection against attacks",
    "JAILBREAK": "its protection against attacks",
}


# --- what Gemini sends ------------------------------------------------------------------------------------------------


class FunctionCall(Struct, rename="camel"):
    """A call, always whole. `args` are an object; none = no arguments."""

    name: str = ""
    args: Raw = Raw(b"{}")
    id: str | None = None


class Part(Struct, rename="camel"):
    """A piece of the answer. `thought` marks the text of a summary; a signature alone does not."""

    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    function_call: FunctionCall | None = None


class Content(Struct, rename="camel"):
    parts: list[Part] | None = None


class Candidate(Struct, rename="camel"):
    index: int = 0
    content: Content | None = None
    finish_reason: str | None = None


class PromptFeedback(Struct, rename="camel"):
    block_reason: str | None = None


class Event(Struct, rename="camel"):
    """One event of a stream. Zeros, falses and empty lists are left out."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: Any = None
    error: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(Event).decode


def decode_event(data: bytes) -> Event:
    """Raises BadGateway for what is no event."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadGateway("The upstream sent something that cannot be read.") from error


# --- one choice -------------------------------------------------------------------------------------------------------


class ChoiceReader:
    """One choice: events in, chunk choices out. The role comes with the first content, so that nothing precedes content."""

    def __init__(self, index: int, request: ChatRequest) -> None:
        self.index = index
        self.ended = False
        """Whether the upstream said that it has finished; figures may still follow."""
        self.blocked = False
        """Whether the prompt was refused: no answer was made."""
        self._calls_max = _calls_max(request)
        self._calls = 0
        self._call_ids: set[str] = set()
        self._reason = ""
        self._started = False
        self._has_content = False

    def read(self, event: Event) -> list[ChunkChoice]:
        chunks: list[ChunkChoice] = []
        for candidate in event.candidates or ():
            if candidate.index != 0 or self.ended:  # one was asked for
                continue
            for part in (candidate.content.parts if candidate.content else None) or ():
                chunks.extend(self._chunk(delta) for delta in self._part(part))
            if candidate.finish_reason:
                self.ended, self._reason = True, candidate.finish_reason
        blocked = event.prompt_feedback.block_reason if event.prompt_feedback else None
        if blocked and not self.ended:
            self.ended, self._reason = True, "PROHIBITED_CONTENT"
            self.blocked = not self._has_content
            if self.blocked:
                rule = _BLOCK_REASONS.get(blocked, "its rules")
                chunks.append(self._chunk(Delta(refusal=f"The model did not answer: the messages were blocked by {rule}.")))
        if chunks and not self._started:
            self._started = True
            chunks.insert(0, ChunkChoice(self.index, Delta(role="assistant", content="")))
        return chunks

    def finish(self) -> list[ChunkChoice]:
        """What is left to say once the stream is over. Raises BadGateway for an answer that is none."""
        if not self.ended:
            raise BadGateway("The upstream broke its answer off. Try again.")
        chunks = [] if self._started else [ChunkChoice(self.index, Delta(role="assistant", content=""))]
        return [*chunks, ChunkChoice(self.index, Delta(), finish_reason=self._finish_reason())]

    def _finish_reason(self) -> FinishReason:
        reason = _FINISH_REASONS.get(self._reason)
        if reason is None and self._reason.startswith("IMAGE_"):
            reason = "content_filter"
        if reason is None:
            # Calls that could not be read, other failures, and reasons that are newer than this table.
            if not self._has_content:
                log.warning("upstream_finish_reason", reason=self._reason[:80])
                raise BadGateway("The upstream ended without an answer. Try again.")
            reason = "stop"
        return "tool_calls" if reason == "stop" and self._calls else reason

    def _chunk(self, delta: Delta) -> ChunkChoice:
        return ChunkChoice(self.index, delta)

    def _part(self, part: Part) -> list[Delta]:
        if part.function_call is not None:
            return self._call(part.function_call, part.thought_signature)
        if not part.text:
            return []
        if part.thought:
            return [Delta(reasoning_content=part.text)]
        self._has_content = True
        return [Delta(content=part.text)]

    def _call(self, call: FunctionCall, signature: str | None) -> list[Delta]:
        arguments = bytes(call.args)
        if not call.name or not arguments.startswith((b"{", b"null")):
            raise BadGateway("The upstream sent a function call that cannot be read.")
        if self._calls >= self._calls_max:
            return []
        identity = call.id or ids.tool_call_id()
        if identity in self._call_ids:
            identity = ids.tool_call_id()
        self._call_ids.add(identity)
        text = "{}" if arguments == b"null" else msgspec.json.format(arguments, indent=-1).decode()
        delta = ToolCallDelta(self._calls, identity, "function", FunctionCallDelta(call.name, text))
        if signature:
            delta.extra_content = {"google": {"thought_signature": signature}}
        self._calls += 1
        self._has_content = True
        return [Delta(tool_calls=[delta])]


def _calls_max(request: ChatRequest) -> int:
    """How many calls the caller gets. Gemini cannot be told to make only one, so those after the first are left out."""
    if not callable_tools(request):
        return 0
    return 1 if request.parallel_tool_calls is False or request.uses_legacy_functions else 10_000


# --- usage ------------------------------------------------------------------------------------------------------------


class CallUsage(Struct):
    """What one call of the upstream took. Its figures are cumulative: the last ones count.

    The figures are not trusted: what is no plausible number of tokens counts as not said, and what was not said is estimated
    from what was sent and received, a token for 4 bytes of text and 258 for an image.
    """

    route: Route
    prompt_estimate: int
    prompt: int | None = None
    cached: int = 0
    audio: int = 0
    candidates: int | None = None
    thoughts: int | None = None
    uncounted_bytes: int = 0
    """Text that came after the last figure for it."""
    uncounted_thought_bytes: int = 0
    doubts: set[str] = field(default_factory=set)
    noted: bool = False

    def read(self, chunks: list[ChunkChoice], metadata: Any) -> None:
        for chunk in chunks:
            self.uncounted_bytes += _content_bytes(chunk.delta)
            self.uncounted_thought_bytes += len((chunk.delta.reasoning_content or "").encode(errors="replace"))
        if metadata is None:
            return
        if not isinstance(metadata, dict):
            self.doubts.add("usageMetadata")
            return
        prompt_max, completion_max = 2 * self.route.context_tokens, 2 * self.route.output_max
        prompt = self._count(metadata, "promptTokenCount", prompt_max)
        if prompt is not None:
            self.prompt = prompt + (self._count(metadata, "toolUsePromptTokenCount", prompt_max) or 0)
        self.cached = self._count(metadata, "cachedContentTokenCount", prompt_max) or self.cached
        self.audio = self._audio(metadata, prompt_max) or self.audio
        candidates = self._count(metadata, "candidatesTokenCount", completion_max)
        if candidates is not None:
            self.candidates, self.uncounted_bytes = candidates, 0
        thoughts = self._count(metadata, "thoughtsTokenCount", completion_max)
        if thoughts is not None:
            self.thoughts, self.uncounted_thought_bytes = thoughts, 0

    def _count(self, metadata: dict[str, Any], name: str, most: int) -> int | None:
        """The figure, or None where there is none that can be meant. Zeros are left out by the upstream."""
        value = metadata.get(name)
        if value is None:
            return None
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
            value = int(value)  # as JSON spells 64-bit integers
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            self.doubts.add(name)
            return None
        return value

    def _audio(self, metadata: dict[str, Any], most: int) -> int:
        details = metadata.get("promptTokensDetails")
        entries = [entry for entry in details if isinstance(entry, dict)] if isinstance(details, list) else []
        return sum(self._count(entry, "tokenCount", most) or 0 for entry in entries if entry.get("modality") == "AUDIO")

    @property
    def prompt_tokens(self) -> int:
        return self.prompt_estimate if self.prompt is None else self.prompt

    @property
    def reasoning_tokens(self) -> int:
        return (self.thoughts or 0) + estimated_tokens(self.uncounted_thought_bytes)

    @property
    def completion_tokens(self) -> int:
        return (self.candidates or 0) + estimated_tokens(self.uncounted_bytes) + self.reasoning_tokens

    def close(self, *, blocked: bool) -> None:
        """The call is over. Says in the log what was wrong with its figures."""
        if blocked and self.prompt is None:
            self.prompt = 0  # nothing was made and nothing was counted
        if self.prompt is None or self.uncounted_bytes or self.uncounted_thought_bytes:
            self.doubts.add("missing")
        for name, count in (("cachedContentTokenCount", self.cached), ("promptTokensDetails", self.audio)):
            if count > self.prompt_tokens:
                self.doubts.add(name)
        self.cached = min(self.cached, self.prompt_tokens)
        self.audio = min(self.audio, self.prompt_tokens - self.cached)
        if self.doubts:
            log.warning("upstream_usage_doubtful", upstream=self.route.upstream.name, fields=sorted(self.doubts))

    @property
    def flags(self) -> set[str]:
        """The doubts, for the receipt."""
        return {"usage_missing" if doubt == "missing" else f"{doubt}_unusable" for doubt in self.doubts}


class Tally:
    """The usage of a request: its calls, one for each choice, added up. The upstream bills the prompt for each of them."""

    def __init__(self, meter: Meter) -> None:
        self.calls: list[CallUsage] = []
        self._meter = meter

    def note(self, usage: CallUsage) -> None:
        """A call has gone on."""
        if not usage.noted:
            usage.noted = True
            self.calls.append(usage)
        self._meter.note(self.usage())
        self._meter.flags = sorted(set().union(*(call.flags for call in self.calls)))

    def usage(self) -> Usage:
        prompt = sum(call.prompt_tokens for call in self.calls)
        completion = sum(call.completion_tokens for call in self.calls)
        reasoning = sum(call.reasoning_tokens for call in self.calls)
        audio = sum(call.audio for call in self.calls)
        cached = sum(call.cached for call in self.calls)
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            completion_tokens_details=CompletionTokensDetails(reasoning_tokens=reasoning) if reasoning else None,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=cached, audio_tokens=audio or None),
        )


def prompt_estimate(body: dict[str, Any], encoded_bytes: int) -> int:
    """Tokens of a request's body, `encoded_bytes` long, for upstreams that do not count them."""
    images = [part["inlineData"] for turn in body["contents"] for part in turn["parts"] if "inlineData" in part]
    return estimated_tokens(encoded_bytes - sum(len(image["data"]) for image in images)) + IMAGE_TOKENS * len(images)


def _content_bytes(delta: Delta) -> int:
    total = len((delta.content or "").encode(errors="replace"))
    for call in delta.tool_calls or ():
        if call.function:
            total += len((call.function.name or "").encode(errors="replace"))
            total += len((call.function.arguments or "").encode(errors="replace"))
    return total
