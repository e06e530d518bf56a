"""What a target of `make fuzz` is: cases at random, what must hold of each, and the cases that are kept."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hypothesis.strategies import SearchStrategy

CORPUS = Path(__file__).parent / "corpus"

T = TypeVar("T")


class NotStarted(Exception):
    """What a target needs did not start: no finding, but nothing can be said of the target either."""


class World:
    """What targets run against, started when the first of them asks and ended at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._things: dict[Callable[..., Any], Any] = {}
        self._open = contextlib.ExitStack()

    def get(self, opened: "Callable[[Path], contextlib.AbstractContextManager[T]]") -> T:
        """The one thing that `opened` opens in a folder of its own."""
        if opened not in self._things:
            folder = self.folder / opened.__name__
            try:
                folder.mkdir()
                self._things[opened] = self._open.enter_context(opened(folder))
            except Exception as error:
                raise NotStarted(opened.__name__) from error
        thing: T = self._things[opened]
        return thing

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *problem: Any) -> None:
        self._open.__exit__(*problem)


@dataclass(frozen=True)
class Target:
    """A case is JSON, so that it can be kept; `check` raises whatever it likes when something is wrong."""

    name: str
    what: str
    cases: "SearchStrategy[Any]" = field(repr=False)
    check: Callable[[Any, World], None] = field(repr=False)
    examples: int = 100
    """How many cases the test suite makes."""

    @property
    def corpus(self) -> Path:
        return CORPUS / f"{self.name}.json"

    def kept(self) -> Iterator[tuple[str, Any]]:
        """(why it is kept, case) of the corpus."""
        if self.corpus.exists():
            for row in json.loads(self.corpus.read_text(encoding="utf-8")):
                yield row["why"], row["case"]

    def keep(self, why: str, case: Any) -> None:
        """Adds a finding to the corpus: from then on the test suite makes it."""
        rows = [{"why": name, "case": each} for name, each in self.kept()]
        if all(row["case"] != case for row in rows):
            self.corpus.parent.mkdir(exist_ok=True)
            lines = [json.dumps(row, ensure_ascii=True) for row in [*rows, {"why": why, "case": case}]]
            self.corpus.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


@dataclass(frozen=True)
class Suite:
    """Tests of the suite that are fuzzing themselves: pytest runs them, again and again, as long as there is time."""

    name: str
    what: str
    tests: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    """What makes them think of other cases each time."""
    counts: str = ""
    """The `record_property` that says how many cases a run made; without it each test is one."""
