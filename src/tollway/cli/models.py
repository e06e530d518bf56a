"""`tollway models`: the model files on this machine. What is public is in public_models.py."""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from tollway.cli.terminal import AsJson, Home, err, fail, print_json, print_table, settings_in_force
from tollway.settings import Settings

if TYPE_CHECKING:
    from tollway.engine import ModelStore
    from tollway.engine.facts import ModelFacts

app = typer.Typer(help="Show and test public models; pull, verify and remove model files.", no_args_is_help=True)

_NOTHING = "There are no models. `tollway models pull` fetches the default one."
Name = Annotated[str, typer.Argument(help="The model's name, as `tollway models files` shows it.", show_default=False)]

_QUIET_SECONDS = 10.0
_PULL_HELP = """Bring a model onto this machine. Without SOURCE: the default model.

A server serves it from its next start on. A pull that fails or is stopped leaves nothing behind; of a model that is there
already it says so at once.

Examples:

- `tollway models pull`
- `tollway models pull ./qwen2.5-0.5b-instruct-q8_0.gguf --name qwen`
- `tollway models pull hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:qwen2.5-0.5b-instruct-q8_0.gguf`
- `tollway models pull hf:ORG/REPO:model.gguf@main --sha256 9f86d0...` (refuses other bytes)
- `tollway models pull hf:ORG/REPO:model.gguf --mmproj hf:ORG/REPO:mmproj.gguf` (a model that sees)
"""


@app.command(help=_PULL_HELP)
def pull(
    source: Annotated[
        str | None, typer.Argument(help="A known name, a file, or hf:ORG/REPO:FILE[@REVISION].", show_default=False)
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="What to call it here; default: from the file's name.")
    ] = None,
    sha256: Annotated[str | None, typer.Option("--sha256", help="Refuse the source file unless its SHA-256 is this.")] = None,
    mmproj: Annotated[
        str | None, typer.Option("--mmproj", help="The vision projector that belongs to it: a file or hf:ORG/REPO:FILE.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    from tollway.engine import EngineError, fetch

    settings = settings_in_force(home=home)
    try:
        with shown_progress() as progress:
            pulled = fetch.pull(
                source or settings.default_model, _store(settings), progress, name=name, sha256=sha256, mmproj=mmproj
            )
    except EngineError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("Stopped. Nothing was kept.", 130)
    if as_json:
        print_json(_shown(pulled.facts) | {"already_there": pulled.already_there})
        return
    facts = pulled.facts
    what = "is already there" if pulled.already_there else "is here"
    err.print(f"{facts.name} {what}: {_size(facts.size_bytes)}, {facts.quantisation}.", markup=False)


@app.command()
def files(as_json: AsJson = False, home: Home = None) -> None:
    """List the model files on this machine.

    Examples: `tollway models files`, `tollway models files --json | jq '.[].name'`
    """
    from tollway.engine import EngineError

    store = _store(settings_in_force(home=home))
    try:
        models, broken = store.list(), store.broken()
    except EngineError as error:
        fail(str(error))
    for problem in broken:
        err.print("[yellow]broken[/yellow] ", end="")
        err.print(str(problem), markup=False)
    if as_json:
        print_json([_shown(facts) for facts in models])
        return
    columns = ("Name", "Size", "Context", "Quantisation", "Sees", "SHA-256", "Source")
    rows = []
    for facts in models:
        sees = "yes" if facts.sees else "no"
        size, context = _size(facts.size_bytes), f"{facts.context_tokens:,}"
        rows.append((facts.name, size, context, facts.quantisation, sees, facts.sha256[:12], facts.source))
    print_table(columns, rows, wrapped=("Quantisation", "Source"), nothing=_NOTHING)


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="A model's name; default: all.", show_default=False)] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Read models again and compare them with what was pulled. Exit code 1 if any differs.

    Examples: `tollway models verify`, `tollway models verify smollm2-135m-instruct`
    """
    from tollway.engine import EngineError

    store = _store(settings_in_force(home=home))
    results: dict[str, str | None] = {}
    try:
        names = [name] if name else [facts.name for facts in store.list()]
        problems = [] if name else [str(problem) for problem in store.broken()]
    except EngineError as error:
        fail(str(error))
    with shown_progress() as progress:
        for each in names:
            try:
                facts = store.get(each)
                progress.step(f"Reading {each}", facts.size_bytes)
                store.verify(each, progress.done)
                results[each] = None
            except EngineError as error:
                results[each] = str(error)
    problems += [problem for problem in results.values() if problem]
    if as_json:
        print_json({"ok": not problems, "verified": [each for each in results if not results[each]], "problems": problems})
        raise typer.Exit(1 if problems else 0)
    if not results and not problems:
        err.print(_NOTHING)
    for each, problem in results.items():
        if not problem:
            err.print(f"{each} is what was pulled.", markup=False)
    if problems:
        fail("\n".join(problems))


@app.command()
def remove(name: Name, home: Home = None) -> None:
    """Remove a model from this machine. A running server keeps its own until it ends.

    Example: `tollway models remove smollm2-135m-instruct`
    """
    from tollway.engine import EngineError

    try:
        _store(settings_in_force(home=home)).remove(name)
    except EngineError as error:
        fail(str(error))
    err.print(f"{name} is removed.", markup=False)


@contextlib.contextmanager
def shown_progress() -> Iterator["Bars | Lines"]:
    """Progress on stderr: bars on a terminal, a line now and then elsewhere."""
    if not err.is_terminal:
        yield Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        yield Bars(bars)


class Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def step(self, label: str, total_bytes: int | None = None) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(label, total=total_bytes)

    def done(self, bytes_done: int) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=bytes_done)


class Lines:
    """For logs: each step once, and long ones again every ten seconds."""

    def __init__(self) -> None:
        self._label, self._total, self._spoke_at = "", 0, 0.0

    def step(self, label: str, total_bytes: int | None = None) -> None:
        self._label, self._total, self._spoke_at = label, total_bytes or 0, time.monotonic()
        err.print(label + (f" ({_size(self._total)})" if self._total else ""), markup=False)

    def done(self, bytes_done: int) -> None:
        if self._total and time.monotonic() - self._spoke_at > _QUIET_SECONDS:
            self._spoke_at = time.monotonic()
            err.print(f"{self._label}: {min(100, 100 * bytes_done // self._total)} %", markup=False)


def _store(settings: Settings) -> "ModelStore":
    from tollway.engine import ModelStore

    return ModelStore(settings.models_path)


def _shown(facts: "ModelFacts") -> dict[str, Any]:
    """What programs get: all facts but the tokens."""
    hidden = {"special_tokens", "end_tokens", "silent_tokens"}
    return {name: value for name, value in msgspec.to_builtins(facts).items() if name not in hidden}


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
