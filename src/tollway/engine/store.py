"""The models on this machine: one folder each, with the file and the facts that were read from it when it was pulled."""

import contextlib
import difflib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from tollway.engine.errors import EngineError, ModelBroken, ModelNotPulled, PullError
from tollway.engine.facts import FACTS_FILE, MODEL_FILE, PROJECTOR_FILE, VOCABULARY_FILE, ModelFacts, read_vocabulary

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_STAGING_PREFIX = ".pull-"
_LOCK_FILE = "lock"


class ModelStore:
    """`<models_path>/<name>/` holds `model.gguf`, perhaps `mmproj.gguf`, `model.json` (ModelFacts), and the vocabulary.

    Many processes may read, pull and remove at a time: a model appears whole, by one rename, or not at all.
    """

    def __init__(self, models_path: Path) -> None:
        self.path = models_path

    def list(self) -> Sequence[ModelFacts]:
        """All whole models by name. Broken ones are left out: see `broken`."""
        return [facts for name in self.names() if isinstance(facts := self._read(name), ModelFacts)]

    def broken(self) -> Sequence[ModelBroken]:
        """Why each folder that looks like a model is none."""
        return [problem for name in self.names() if isinstance(problem := self._read(name), ModelBroken)]

    def find(self, name: str) -> ModelFacts | None:
        """None for a model that is not there, or broken."""
        return next((facts for facts in self.list() if facts.name == name), None)

    def get(self, name: str) -> ModelFacts:
        """Raises ModelNotPulled, naming the models that are there, or ModelBroken."""
        self._check_there(name)
        facts = self._read(name)
        if isinstance(facts, ModelBroken):
            raise facts
        return facts

    def model_path(self, name: str) -> Path:
        return self.path / name / MODEL_FILE

    def vocabulary_path(self, name: str) -> Path:
        return self.path / name / VOCABULARY_FILE

    def projector_path(self, name: str) -> Path | None:
        path = self.path / name / PROJECTOR_FILE
        return path if path.exists() else None

    def verify(self, name: str, progress: Callable[[int], None] | None = None) -> ModelFacts:
        """Reads the whole model again and compares the hashes. Raises ModelBroken.

        `progress` is told the bytes of each file that were read so far.
        """
        facts = self.get(name)
        expected = [(self.model_path(name), facts.sha256)]
        if facts.mmproj_sha256:
            expected.append((self.path / name / PROJECTOR_FILE, facts.mmproj_sha256))
        for path, sha256 in expected:
            found = file_sha256(path, progress) if path.is_file() else "nothing: the file is missing"
            if found != sha256:
                raise ModelBroken(name, f"{path} is not what was pulled (SHA-256 {found}, expected {sha256}).")
        vocabulary = self.vocabulary_path(name)
        try:
            read_vocabulary(vocabulary)
        except msgspec.DecodeError as error:
            raise ModelBroken(name, f"{vocabulary} is not what was read of the model: {error}.") from None
        return facts

    def remove(self, name: str) -> None:
        """Removes a model, also a broken one. Raises ModelNotPulled. A running engine keeps its open file."""
        self._check_there(name)
        with self.staging() as staging, contextlib.suppress(FileNotFoundError):  # somebody else was faster
            (self.path / name).rename(staging / "removed")

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder on the same disk for a model in the making; it is gone afterwards, whatever happened.

        What a killed process left behind is cleared here too: its lock is free, that of a living one is not.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with self._alone():  # else another one would find ours before it is locked, and clear it
                self._clear_abandoned()
                folder = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=self.path))
                lock = (folder / _LOCK_FILE).open("w")
                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise PullError(f"{self.path} cannot be written: {error.strerror}.") from None
        try:
            with lock:
                yield folder
        except OSError as error:  # the disk is full, most likely
            raise PullError(f"Writing to {self.path} failed: {error.strerror or error}. Nothing was kept.") from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def install(self, model: Path, facts: ModelFacts, vocabulary: Sequence[bytes], projector: Path | None = None) -> ModelFacts:
        """Moves files from a staging folder into place, in one rename.

        When the name is taken by the same bytes, what is there stays and is returned; by other bytes: PullError. A broken
        model is replaced.
        """
        whole = model.parent / "whole"
        whole.mkdir()
        model.rename(whole / MODEL_FILE)
        if projector is not None:
            projector.rename(whole / PROJECTOR_FILE)
        (whole / VOCABULARY_FILE).write_bytes(msgspec.msgpack.encode(vocabulary))
        (whole / FACTS_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=1))
        target = self.path / facts.name
        for _ in range(10):
            try:
                whole.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            else:
                return facts
            present = self._read(facts.name)
            if isinstance(present, ModelFacts):
                check_same(present, facts.sha256, facts.mmproj_sha256)
                return present
            with contextlib.suppress(FileNotFoundError):
                target.rename(Path(tempfile.mkdtemp(dir=model.parent)) / "broken")
        raise PullError(f"{target} keeps changing under this pull. Is another program writing there?")

    def _check_there(self, name: str) -> None:
        known = self.names()
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            there = f"Did you mean {close[0]}?" if close else f"Here are: {', '.join(known) or 'none'}."
            raise ModelNotPulled(f"The model {name} is not on this machine. {there}")

    def names(self) -> Sequence[str]:
        """Of all folders that look like models, whole or broken. Raises EngineError."""
        try:
            return sorted(entry.name for entry in self.path.iterdir() if entry.is_dir() and NAME_PATTERN.fullmatch(entry.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise EngineError(f"The models folder {self.path} cannot be read: {error.strerror}.") from None

    def _read(self, name: str) -> ModelFacts | ModelBroken:
        path = self.path / name / FACTS_FILE
        try:
            facts = msgspec.json.decode(path.read_bytes(), type=ModelFacts)
            size = self.model_path(name).stat().st_size
            self.vocabulary_path(name).stat()
        except OSError as error:
            return ModelBroken(name, f"The model {name} is broken: {error.filename}: {error.strerror}.")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return ModelBroken(name, f"The model {name} is broken: {path}: {error}.")
        if facts.name != name or size != facts.size_bytes:
            return ModelBroken(name, f"The model {name} is broken: {path} describes another file.")
        if facts.sees and self.projector_path(name) is None:
            return ModelBroken(name, f"The model {name} is broken: its {PROJECTOR_FILE} is missing.")
        return facts

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else makes or clears a staging folder meanwhile."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _clear_abandoned(self) -> None:
        for folder in self.path.glob(_STAGING_PREFIX + "*"):
            with contextlib.suppress(OSError), (folder / _LOCK_FILE).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def check_same(present: ModelFacts, sha256: str, mmproj_sha256: str | None) -> None:
    """Raises PullError when the model that holds the name is another one."""
    if (present.sha256, present.mmproj_sha256) != (sha256, mmproj_sha256):
        raise PullError(
            f"The name {present.name} is taken by another model ({present.source}). Choose another with --name,"
            f" or `tollway models remove {present.name}` first."
        )


def file_sha256(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """`progress` is told the bytes read so far."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 20))
    with path.open("rb") as file:
        while size := file.readinto(buffer):
            digest.update(buffer[:size])
            if progress:
                progress(file.tell())
    return digest.hexdigest()
