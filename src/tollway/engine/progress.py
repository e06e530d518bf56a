"""How long work tells how far it is."""

from pathlib import Path
from typing import IO, Protocol


class Progress(Protocol):
    def step(self, label: str, total_bytes: int | None = None) -> None:
        """A new step begins, ending the one before; `total_bytes` is None where it is not known."""

    def done(self, bytes_done: int) -> None:
        """So many bytes of the step are done by now."""


class Silent:
    """Progress that nobody watches."""

    def step(self, label: str, total_bytes: int | None = None) -> None: ...

    def done(self, bytes_done: int) -> None: ...


def copy(source: IO[bytes], target: Path, progress: Progress) -> None:
    """Copies all of `source`, telling how far it is."""
    with target.open("wb") as out:
        while block := source.read(1 << 20):
            out.write(block)
            progress.done(out.tell())
