"""Makes the file that is served of the one that was fetched, and reads its facts: here, or in a process of its own.

A server's first start does it in a process of its own (a Task on its stdin, a Described on its stdout), because it takes
libraries whose memory the server would keep for the rest of its life (measured: 9 MB of 55).
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from tollway.engine.errors import EngineError, ModelFileError
from tollway.engine.facts import ModelFacts
from tollway.engine.store import file_sha256


class Task(Struct, frozen=True, kw_only=True):
    """A model's file, and what is known of it already."""

    path: str
    name: str
    source: str
    source_sha256: str
    requantised_sha256: str | None = None
    """None = served as it is; else it is requantised from Q4_1 to Q8_0, and must come out so."""
    title: str = ""
    developer: str = ""


class Described(Struct, frozen=True):
    facts: ModelFacts | None
    vocabulary: list[bytes]
    error: str = ""


def describe(task: Task) -> tuple[ModelFacts, Sequence[bytes]]:
    """Requantises the file where it is to be, and returns the facts and the bytes of each token. Raises ModelFileError."""
    from tollway.engine.gguf_facts import read_facts
    from tollway.engine.requantise import requantise_q4_1_to_q8_0

    path, sha256, source = Path(task.path), task.source_sha256, task.source
    if task.requantised_sha256 is not None:
        fetched = path.with_suffix(".source")
        path.rename(fetched)
        requantise_q4_1_to_q8_0(fetched, path)
        sha256, source = file_sha256(path), f"{source}, requantised to Q8_0"
        if sha256 != task.requantised_sha256:
            raise ModelFileError(
                f"Requantising {task.name} gave other bytes than pinned (SHA-256 {sha256}). Please report this."
            )
    return read_facts(
        path,
        name=task.name,
        source=source,
        sha256=sha256,
        source_sha256=task.source_sha256,
        title=task.title,
        developer=task.developer,
    )


def describe_apart(task: Task) -> tuple[ModelFacts, Sequence[bytes]]:
    """The same in a process of its own. Raises ModelFileError, also when that process dies."""
    command = [sys.executable, "-c", "from tollway.engine.describe import main; main()"]
    done = subprocess.run(  # noqa: S603 - our own arguments
        command,
        input=msgspec.msgpack.encode(task),
        stdout=subprocess.PIPE,
        check=False,
        process_group=0,  # Ctrl-C is for us; what is waited for is killed then
    )
    if done.returncode:
        raise ModelFileError(f"The process that reads it ended with status {done.returncode}.")
    described = msgspec.msgpack.decode(done.stdout, type=Described)
    if described.facts is None:
        raise ModelFileError(described.error)
    return described.facts, described.vocabulary


def main() -> None:
    task = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Task)
    try:
        facts, vocabulary = describe(task)
        described = Described(facts, list(vocabulary))
    except EngineError as error:
        described = Described(None, [], str(error))
    sys.stdout.buffer.write(msgspec.msgpack.encode(described))
