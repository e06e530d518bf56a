"""Generated text, piece by piece, into the deltas of one choice: reasoning, content and tool calls.

Every split of the text into pieces gives the same message: what could still become a mark is held back until it is clear.
"""

from collections.abc import Iterator, Sequence
from enum import Enum, auto

from tollway import ids
from tollway.providers.conversation import CALL_CLOSING, CALL_MIDDLE, CALL_OPENING, CALL_OPENING_MARK
from tollway.providers.stopping import StopFilter, overlap
from tollway.wire.chat import Delta, FunctionCallDelta, ToolCallDelta

THINK_OPENING = "<think>"
THINK_CLOSING = "</think>"


class Mode(Enum):
    """What the next piece of text is part of."""

    UNDECIDED = auto()
    """Nothing but white space so far, and the model may begin to think."""
    REASONING = auto()
    CONTENT = auto()
    CALLS = auto()


class ChoiceAssembler:
    """One choice of a stream. `feed` each piece of text in order, then `finish` once.

    `calls` tells whether the mark of a tool call in the text begins one; without it the mark is plain text. `thinking` is
    UNDECIDED for a model that may open its reasoning itself, REASONING when the prompt has opened it already, CONTENT when
    there is none. `forced_call` says that the prompt ends with the opening of a call, and `forced_name` that it also names
    the function. At one of the `stop` sequences in its content the choice ends; in thoughts and calls they mean nothing.
    """

    def __init__(
        self,
        *,
        calls: bool,
        thinking: Mode = Mode.CONTENT,
        forced_call: bool = False,
        forced_name: str | None = None,
        stop: Sequence[str] = (),
    ) -> None:
        self.mode = Mode.CALLS if forced_call else thinking
        self._calls = CallParser(forced_call, forced_name) if calls else None
        self._stop = StopFilter(stop)
        self._held = ""
        self._at_start = (
            thinking is not Mode.CONTENT
        )  # of reasoning, or of the content after it: templates put blank lines there

    @property
    def has_calls(self) -> bool:
        return self._calls is not None and self._calls.count > 0

    @property
    def stopped(self) -> bool:
        """Whether a stop sequence has ended the choice: what is generated after it is not looked at."""
        return self._stop.found

    def feed(self, text: str) -> list[Delta]:
        return [] if self.stopped else list(self._feed(text))

    def finish(self, *, cut: bool = False) -> list[Delta]:
        """What was held back and turned out to be plain text. `cut`: the token limit has ended it, so that the beginning of a
        mark is one, and no text.
        """
        held, self._held = "" if cut else self._held, ""
        if self.mode is Mode.REASONING:
            return [Delta(reasoning_content=held)] if held else []
        return list(self._content(held, last=True))

    def _feed(self, text: str) -> Iterator[Delta]:
        if self.mode is Mode.UNDECIDED:
            self._held += text
            begun = self._held.lstrip()
            if THINK_OPENING.startswith(begun) and begun != THINK_OPENING:
                return
            text, self._held = self._held, ""
            self.mode = Mode.CONTENT
            if begun.startswith(THINK_OPENING):
                self.mode, text = Mode.REASONING, begun.removeprefix(THINK_OPENING)
            else:
                self._at_start = False
        if self.mode is Mode.REASONING:
            before, text, found = self._split(self._stripped(text), THINK_CLOSING)
            if before:
                yield Delta(reasoning_content=before)
            if not found:
                return
            self.mode, self._at_start = Mode.CONTENT, True
        if self.mode is Mode.CONTENT:
            text = self._stripped(text)
            if self._calls is None:
                yield from self._content(text)
                return
            before, text, found = self._split(text, CALL_OPENING_MARK)
            yield from self._content(before, last=found)
            if not found or self.stopped:
                return
            self.mode, text = Mode.CALLS, CALL_OPENING_MARK + text
        if self._calls is not None:  # one entry in each, as OpenAI sends them: there are clients that read only the first
            yield from (Delta(tool_calls=[delta]) for delta in self._calls.feed(text))

    def _content(self, text: str, *, last: bool = False) -> Iterator[Delta]:
        """The content as far as no stop sequence ends it. `last`: no more of it follows."""
        text = self._stop.feed(text)
        if last:
            text += self._stop.release()
        if text:
            yield Delta(content=text)

    def _stripped(self, text: str) -> str:
        if self._at_start:
            text = text.lstrip()
            self._at_start = not text
        return text

    def _split(self, text: str, mark: str) -> tuple[str, str, bool]:
        """(before the mark, after it, True), or (what surely comes before any mark, "", False) with the rest held back."""
        text, self._held = self._held + text, ""
        before, found, after = text.partition(mark)
        if found:
            return before, after, True
        clear = len(text) - overlap(text, mark)
        text, self._held = text[:clear], text[clear:]
        return text, "", False


class _Part(Enum):
    OPENING = auto()
    NAME = auto()
    ARGUMENTS = auto()
    CLOSING = auto()


class CallParser:
    """Tool calls in the one layout that the grammar allows; arguments are handed on as they come."""

    def __init__(self, opened: bool, name: str | None) -> None:
        self.count = 0
        self._part = _Part.NAME if opened else _Part.OPENING
        self._buffer = "" if name is None else name + CALL_MIDDLE
        self._depth = 0
        self._in_string = self._escaped = False

    def feed(self, text: str) -> list[ToolCallDelta]:
        self._buffer += text
        deltas: list[ToolCallDelta] = []
        while self._advance(deltas):
            pass
        return deltas

    def _advance(self, deltas: list[ToolCallDelta]) -> bool:
        """Takes one part off the buffer; False when more text is needed."""
        match self._part:
            case _Part.OPENING:
                if self._take(CALL_OPENING) is None:
                    return False
                self._part = _Part.NAME
            case _Part.NAME:
                if (name := self._take(CALL_MIDDLE)) is None:
                    return False
                call = FunctionCallDelta(name=name, arguments="")
                deltas.append(ToolCallDelta(index=self.count, id=ids.tool_call_id(), type="function", function=call))
                self.count += 1
                self._part = _Part.ARGUMENTS
            case _Part.ARGUMENTS:
                if not self._buffer:
                    return False
                end = self._arguments_end()
                piece, self._buffer = self._buffer[:end], self._buffer[end:]
                deltas.append(ToolCallDelta(index=self.count - 1, function=FunctionCallDelta(arguments=piece)))
                if self._depth > 0:
                    return False
                self._part = _Part.CLOSING
            case _Part.CLOSING:
                if self._take(CALL_CLOSING) is None:
                    return False
                self._part = _Part.OPENING
        return True

    def _take(self, mark: str) -> str | None:
        before, found, after = self._buffer.partition(mark)
        if not found:
            return None
        self._buffer = after
        return before

    def _arguments_end(self) -> int:
        """Where in the buffer the arguments' object closes, or the buffer's end; depth and string state go on from before."""
        for position, character in enumerate(self._buffer):
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif character == "\\":
                    self._escaped = True
                elif character == '"':
                    self._in_string = False
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return position + 1
        return len(self._buffer)
