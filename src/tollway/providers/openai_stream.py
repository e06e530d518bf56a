"""An OpenAI-compatible stream's events as our chunk choices, read narrowly and tolerantly.

What upstreams do differently is read as it comes: the thought as `reasoning_content` or `reasoning` or in parts of the content,
tool calls without an index or all with index 0, the role in every delta, a last piece of content together with the
finish_reason, a finish_reason that comes twice. What is no sound answer raises BadGateway; it is never mended into one.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import structlog
from msgspec import Raw

from tollway import ids
from tollway.catalog import Route
from tollway.errors import BadGateway
from tollway.metering import estimated_tokens
from tollway.providers.base import Meter
from tollway.providers.openai_shapes import (
    CallPiece,
    ContentPart,
    FunctionPiece,
    UpstreamAnswer,
    UpstreamChoice,
    UpstreamDelta,
    UpstreamEvent,
    UpstreamTokenLogprob,
    UpstreamWholeChoice,
    decode_answer,
    decode_event,
    decode_events,
    decode_logprobs,
)
from tollway.providers.reported_usage import checked_usage
from tollway.wire.chat import (
    VERY_UNLIKELY,
    ChatRequest,
    ChunkChoice,
    Delta,
    FinishReason,
    FunctionCallDelta,
    Logprobs,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
    Usage,
)

log = structlog.get_logger()

_CALLS_MAX = 128

# Any other reason ("error", "abort", "insufficient_system_resource", ...) is a failure: it must not pass for a normal end.
_FINISH: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class UpstreamStreamError(Exception):
    """The upstream sent an error in the stream; `error` is what it sent."""

    def __init__(self, error: object) -> None:
        super().__init__()
        self.error = error


class AnswerReader:
    """Reads one answer. `read` each event's data in order, until `done` or the stream's end; then `finish` once."""

    def __init__(self, request: ChatRequest, route: Route, prompt_tokens: int, meter: Meter) -> None:
        self.done = False
        """`[DONE]` has come."""
        self._route = route
        self._meter = meter
        self._prompt_tokens = prompt_tokens
        self._pieces = self._text_bytes = 0
        self._with_logprobs = bool(request.logprobs)
        self._reported: object = None
        self._choices = [_ChoiceReader(index, request) for index in range(request.choices_count)]

    def read(self, events: list[bytes]) -> Iterable[ChunkChoice]:
        """What the events add, often nothing. Raises BadGateway for what is no chunk, UpstreamStreamError for an error.

        Of several, each leaves the list when it is read: what a slow reader has not taken yet is memory.
        """
        return self._read_one(events[0]) if len(events) == 1 else self._read_each(events)

    def _read_each(self, events: list[bytes]) -> Iterator[ChunkChoice]:
        events.reverse()
        while events and not self.done:
            yield from self._read_one(events.pop())

    def _read_one(self, data: bytes) -> list[ChunkChoice]:
        try:
            event = decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            if data.strip() == b"[DONE]":  # no JSON either
                self.done = True
                return []
            raise self._broken("sent an event that is no chunk", type(problem).__name__) from None
        return self._read_event(event)

    def read_together(self, events: list[bytes]) -> Iterator[ChunkChoice]:
        """As `read`, for a caller who waits for the whole answer: text that follows on text is one chunk."""
        done = events[-1:] == [b"[DONE]"]
        try:
            decoded = decode_events(b"[%b]" % b",".join(events[:-1] if done else events))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            decoded = []
        if len(decoded) != len(events) - done:
            yield from self.read(events)  # it says what is wrong with which
            return
        texts: list[str] = []
        for event in decoded:
            if (text := self._plain_text(event)) is not None:
                texts.append(text)
                continue
            yield from self._read_texts(texts)
            yield from self._read_event(event)
        yield from self._read_texts(texts)
        self.done = done

    def read_whole(self, data: bytes) -> list[ChunkChoice]:
        """What an answer in one piece brings. Raises as `read`."""
        try:
            answer = decode_answer(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise self._broken("sent an answer that is no completion", type(problem).__name__) from None
        self.done = True
        chunks = self._read_event(answer)
        if len(chunks) == 3 and len(self._choices) == 1 and not chunks[1].delta.tool_calls:
            role, whole, end = chunks  # one text, as nearly always: it goes its way as one piece
            whole.delta.role, whole.finish_reason = role.delta.role, end.finish_reason
            return [whole]
        return chunks

    def _plain_text(self, event: UpstreamEvent) -> str | None:
        """The text of an event that brings nothing else, to the only choice."""
        if event.error is not None or event.usage is not None or not event.choices or len(event.choices) != 1:
            return None
        choice = event.choices[0]
        delta = choice.delta
        if choice.index or delta is None or choice.finish_reason is not None or self._with_logprobs or len(self._choices) != 1:
            return None
        if delta.reasoning_content or delta.reasoning or delta.refusal or delta.tool_calls:
            return None
        return delta.content if type(delta.content) is str and delta.content else None

    def _read_texts(self, texts: list[str]) -> list[ChunkChoice]:
        """The texts of several events as one."""
        if not texts:
            return []
        self._pieces += len(texts) - 1
        text = "".join(texts)
        texts.clear()
        return self._read_event(UpstreamEvent([UpstreamChoice(delta=UpstreamDelta(text))]))

    def _read_event(self, event: UpstreamEvent | UpstreamAnswer) -> list[ChunkChoice]:
        if event.error is not None:
            raise UpstreamStreamError(event.error)
        if event.usage is not None:
            self._reported = event.usage
        chunks: list[ChunkChoice] = []
        for choice in event.choices or ():
            index = choice.index or 0
            if not 0 <= index < len(self._choices):
                raise self._broken("sent a choice that was not asked for", index)
            try:
                text_bytes = self._choices[index].read(choice, chunks)
            except ValueError as problem:
                raise self._broken("sent a chunk that cannot be", str(problem)) from None
            if text_bytes:
                self._pieces += 1
                self._text_bytes += text_bytes
        return chunks

    @property
    def complete(self) -> bool:
        """Every choice has its finish_reason."""
        return all(choice.finished for choice in self._choices)

    def finish(self) -> Usage:
        """The usage of a complete answer. Raises BadGateway for a stream that was broken off."""
        if not self.complete:
            raise self._broken("ended its stream before the answer was complete")
        if not self.done and self._route.upstream.quirks.done_marker:
            raise self._broken("ended its stream without [DONE]", "where it never sends one, set its quirk done_marker = false")
        usage, self._meter.flags = checked_usage(self._reported, self._counted(), self._route, len(self._choices))
        return usage

    def _counted(self) -> Usage:
        """Our own count: a token per piece or per 4 bytes of text, whatever is more."""
        completion = max(self._pieces, estimated_tokens(self._text_bytes))
        return Usage(self._prompt_tokens, completion, self._prompt_tokens + completion)

    def break_off(self) -> None:
        """The answer ends here: the meter gets what came of it, if anything did."""
        if self._pieces or self._reported is not None:
            usage, flags = checked_usage(self._reported, self._counted(), self._route, len(self._choices), quiet=True)
            self._meter.note(usage)
            self._meter.flags = flags if self._reported is not None else []  # before its end no answer has figures

    def _broken(self, what: str, detail: object = None) -> BadGateway:
        route = self._route
        if isinstance(detail, str):
            detail = route.upstream.without_key(detail)[:100]
        log.error("upstream_broken", upstream=route.upstream.name, model=route.upstream_model, what=what, detail=detail)
        return BadGateway(f"The model's upstream {what}.")


class _Call:
    """One tool call on its way. Nothing of it is sent until its name is known."""

    def __init__(self, place: int, call_id: str | None) -> None:
        self.place = place
        self.id = call_id
        self.name = ""
        self.arguments: list[str] = []
        self.extra: Any = None
        self.sent = False

    @property
    def is_whole(self) -> bool:
        """Whether no more arguments can follow: they are a JSON value already."""
        try:
            msgspec.json.decode("".join(self.arguments), type=Raw)
        except (msgspec.DecodeError, RecursionError):
            return False
        return True


class _ChoiceReader:
    """One choice: the upstream's deltas in, ours out."""

    def __init__(self, index: int, request: ChatRequest) -> None:
        self.finished = False
        self._index = index
        self._with_logprobs = bool(request.logprobs)
        # Not all upstreams can be told to make only one call.
        self._calls_max = 1 if request.uses_legacy_functions or request.parallel_tool_calls is False else _CALLS_MAX
        self._started = False
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def read(self, choice: UpstreamChoice | UpstreamWholeChoice, chunks: list[ChunkChoice]) -> int:
        """Adds what the choice brings to `chunks`; returns the bytes of new text. Raises ValueError for what cannot be."""
        text_bytes = 0
        logprobs = self._logprobs(choice.logprobs) if self._with_logprobs else None
        delta = choice.delta
        if delta is not None:
            content, reasoning = delta.content, delta.reasoning_content or delta.reasoning
            if type(content) is list:
                content, reasoning = _joined(content, reasoning)
            if type(content) is str and content and not (reasoning or delta.refusal or delta.tool_calls):  # as nearly always
                self._add(chunks, Delta(content=content), logprobs)
                text_bytes, logprobs = len(content.encode()), None
            elif content or reasoning or delta.refusal or delta.tool_calls or logprobs:
                text_bytes = self._read_delta(content, reasoning, delta, logprobs, chunks)
                logprobs = None
        if logprobs is not None:
            self._add(chunks, Delta(), logprobs)
        if choice.finish_reason and not self.finished:
            self._finish(choice.finish_reason, chunks)
        return text_bytes

    def _read_delta(
        self, content: Any, reasoning: str | None, delta: UpstreamDelta, logprobs: Logprobs | None, chunks: list[ChunkChoice]
    ) -> int:
        text_bytes = 0
        if reasoning:
            text_bytes += len(reasoning.encode())
            self._add(chunks, Delta(reasoning_content=reasoning), None)
        if content:
            text_bytes += len(content.encode())
            self._add(chunks, Delta(content=content), logprobs)
            logprobs = None
        if delta.refusal:
            text_bytes += len(delta.refusal.encode())
            self._add(chunks, Delta(refusal=delta.refusal), None)
        for piece in delta.tool_calls or ():
            text_bytes += self._read_call(piece, chunks)
        if logprobs is not None:
            self._add(chunks, Delta(), logprobs)
        return text_bytes

    def _add(self, chunks: list[ChunkChoice], delta: Delta, logprobs: Logprobs | None) -> None:
        if self.finished:
            raise ValueError("content after the finish_reason")
        if not self._started:
            self._start(chunks)
        chunks.append(ChunkChoice(self._index, delta, logprobs=logprobs))

    def _start(self, chunks: list[ChunkChoice]) -> None:
        """The role goes out with the first content, not with the upstream's: what comes before content may be tried again."""
        self._started = True
        chunks.append(ChunkChoice(self._index, Delta(role="assistant", content="")))

    def _finish(self, reason: str, chunks: list[ChunkChoice]) -> None:
        finish_reason = _FINISH.get(reason.partition(":")[0])  # "content_filter: RECITATION"
        if finish_reason is None:
            raise ValueError(f"finish_reason {reason}")
        for call in self._calls[: self._calls_max]:
            if not call.sent:
                raise ValueError("a tool call without a name")
            if not call.arguments:
                self._add_call(chunks, call, "{}")
        if finish_reason == "stop" and self._calls:
            finish_reason = "tool_calls"
        elif finish_reason == "tool_calls" and not self._calls:
            finish_reason = "stop"
        if not self._started:
            self._start(chunks)
        self.finished = True
        chunks.append(ChunkChoice(self._index, Delta(), finish_reason=finish_reason))

    # --- tool calls ---------------------------------------------------------------------------------------------------

    def _read_call(self, piece: CallPiece, chunks: list[ChunkChoice]) -> int:
        function = piece.function or FunctionPiece()
        call = self._call_of(piece, function)
        arguments = function.arguments or ""
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        if call.place < self._calls_max:
            if function.name and call.name and function.name != call.name:
                raise ValueError("a tool call whose name goes on")  # it has been told already
            call.name = call.name or function.name or ""
            call.extra = call.extra or piece.extra_content
            if arguments:
                call.arguments.append(arguments)
            if call.sent:
                if arguments:
                    self._add_call(chunks, call, arguments)
            elif call.name:
                self._add_call(chunks, call, "".join(call.arguments))
        return len(arguments.encode()) + len((function.name or "").encode())

    def _call_of(self, piece: CallPiece, function: FunctionPiece) -> _Call:
        """Which call a piece belongs to. An id that is known decides; one that is not may still be no new call, for some
        upstreams give each piece a new one. A new call has a name.
        """
        index, call_id = piece.index, piece.id or None
        if call_id is not None:
            for call in self._calls:
                if call.id == call_id:
                    return call
        last = self._calls[-1] if self._calls else None
        known = last if index is None else self._by_index.get(index)
        if not function.name and last is not None:
            return known or last
        if known is not None and (not known.name or _repeats(known, piece, function)):
            return known
        if len(self._calls) == _CALLS_MAX:
            raise ValueError(f"more than {_CALLS_MAX} tool calls")
        if self._calls and self._calls[-1].place < self._calls_max and not self._calls[-1].sent:
            raise ValueError("a tool call without a name")  # calls are told of in their order
        call = _Call(len(self._calls), call_id)
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _add_call(self, chunks: list[ChunkChoice], call: _Call, arguments: str) -> None:
        if call.sent:
            piece = ToolCallDelta(index=call.place, function=FunctionCallDelta(arguments=arguments))
        else:
            call.sent = True
            function = FunctionCallDelta(name=call.name, arguments=arguments)
            piece = ToolCallDelta(index=call.place, id=call.id or ids.tool_call_id(), type="function", function=function)
            if isinstance(call.extra, dict):
                piece.extra_content = call.extra
        self._add(chunks, Delta(tool_calls=[piece]), None)

    # --- log probabilities --------------------------------------------------------------------------------------------

    def _logprobs(self, raw: Raw) -> Logprobs | None:
        try:
            found = decode_logprobs(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ValueError("logprobs that are none") from None
        if found is None or not (found.content or found.refusal):
            return None
        refusal = [_entry(entry) for entry in found.refusal] if found.refusal else None
        return Logprobs([_entry(entry) for entry in found.content or ()], refusal)


def _repeats(known: _Call, piece: CallPiece, function: FunctionPiece) -> bool:
    """Whether a piece with a name goes on with the call of its index nevertheless, rather than beginning the next one."""
    if piece.index is None or known.is_whole:
        return False
    return not piece.id or known.name == function.name


def _joined(parts: list[ContentPart], reasoning: str | None) -> tuple[str, str | None]:
    """Content in parts as (text, thought). Parts of other kinds, such as references, are no text of the answer."""
    text = "".join(part.text or "" for part in parts if part.type == "text")
    thoughts = [reasoning or ""]
    for part in parts:
        if part.type == "thinking":
            inner = part.thinking
            thoughts.append(_joined(inner, None)[0] if isinstance(inner, list) else inner or "")
    return text, "".join(thoughts)


def _entry(found: UpstreamTokenLogprob) -> TokenLogprob:
    top = [TopLogprob(each.token, _bounded(each.logprob), each.bytes) for each in found.top_logprobs or ()]
    return TokenLogprob(found.token, _bounded(found.logprob), found.bytes, top)


def _bounded(logprob: float | None) -> float:
    return VERY_UNLIKELY if logprob is None else min(max(logprob, VERY_UNLIKELY), 0.0)
