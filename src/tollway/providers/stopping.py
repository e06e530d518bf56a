"""The caller's stop sequences, looked for in a text that comes piece by piece."""

from collections.abc import Sequence


class StopFilter:
    """Lets the text through up to the first stop sequence. What could still become one is held back until it is clear.

    Of several, the one that is complete first ends the text; of those that become so with one piece, the one that begins
    first. That is the engine's own rule, whose pieces are tokens.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self.found = False
        self._sequences = sequences
        self._held = ""

    def feed(self, text: str) -> str:
        """What surely stands before any stop sequence; nothing once one was found."""
        if self.found:
            return ""
        text, self._held = self._held + text, ""
        beginnings = [begin for each in self._sequences if (begin := text.find(each)) >= 0]
        if beginnings:
            self.found = True
            return text[: min(beginnings)]
        held = max((overlap(text, each) for each in self._sequences), default=0)
        text, self._held = text[: len(text) - held], text[len(text) - held :]
        return text

    def release(self) -> str:
        """What was held back: the text has ended, so it becomes no stop sequence."""
        held, self._held = self._held, ""
        return held


def overlap(text: str, mark: str) -> int:
    """How many characters at the text's end are the mark's beginning; the whole mark does not count."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0
