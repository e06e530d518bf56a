import os
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType
from tests.tiny_gguf import write_tiny_model

from tollway.engine.describe import Task, describe, describe_apart
from tollway.engine.errors import ModelFileError
from tollway.engine.requantise import requantise_q4_1_to_q8_0
from tollway.engine.store import file_sha256


def task_of(path: Path, requantised: str | None = None) -> Task:
    return Task(path=str(path), name="tiny", source="file:x", source_sha256="0" * 64, requantised_sha256=requantised)


def test_a_process_of_its_own_finds_the_same(tmp_path: Path) -> None:
    source = write_tiny_model(tmp_path / "q4_1.gguf", weights=GGMLQuantizationType.Q4_1)
    requantise_q4_1_to_q8_0(source, tmp_path / "wanted.gguf")
    wanted = file_sha256(tmp_path / "wanted.gguf")
    here, apart = (write_tiny_model(tmp_path / name, weights=GGMLQuantizationType.Q4_1) for name in ("here", "apart"))

    found = describe(task_of(here, wanted))

    assert describe_apart(task_of(apart, wanted)) == found
    assert found[0].sha256 == wanted
    assert found[0].source == "file:x, requantised to Q8_0"
    assert here.read_bytes() == apart.read_bytes() == (tmp_path / "wanted.gguf").read_bytes()


def test_other_bytes_than_pinned_are_refused(tmp_path: Path) -> None:
    for where in (describe, describe_apart):
        path = write_tiny_model(tmp_path / "tiny.gguf", weights=GGMLQuantizationType.Q4_1)
        with pytest.raises(ModelFileError, match="other bytes than pinned"):
            where(task_of(path, "1" * 64))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        describe_apart(task_of(tmp_path / "missing.gguf"))


def test_a_process_that_dies_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelFileError, match="ended with status 1"):
        describe_apart(task_of(Path("no\0path")))

    assert "null byte" in capfd.readouterr().err


def test_ctrl_c_reaches_the_one_who_waits_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "group"
    (tmp_path / "gguf.py").write_text(f"import os; open({str(group)!r}, 'w').write(str(os.getpgrp())); os._exit(1)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ModelFileError, match="ended with status 1"):
        describe_apart(task_of(tmp_path / "tiny.gguf"))
    assert int(group.read_text()) != os.getpgrp()
