import fcntl
from pathlib import Path

import msgspec
import pytest
from tests.processes import race

from tollway.engine import EngineError, ModelStore
from tollway.engine.errors import ModelBroken, ModelNotPulled, PullError
from tollway.engine.facts import ModelFacts
from tollway.engine.fetch import pull


def test_an_empty_store(store: ModelStore) -> None:
    assert (list(store.list()), list(store.broken())) == ([], [])
    with pytest.raises(ModelNotPulled, match="Here are: none"):
        store.get("tiny")


def test_a_pulled_model_is_listed_found_verified_and_removed(pulled: ModelStore) -> None:
    (facts,) = pulled.list()
    assert pulled.get("tiny") == facts == pulled.verify("tiny")
    pulled.remove("tiny")
    assert list(pulled.list()) == []
    assert list(pulled.path.iterdir()) == []
    with pytest.raises(ModelNotPulled):
        pulled.remove("tiny")


def test_a_wrong_name_is_answered_with_a_close_one(pulled: ModelStore) -> None:
    with pytest.raises(ModelNotPulled, match="Did you mean tiny"):
        pulled.get("tinny")
    for name in ("..", ".", "a/b", "", "../models/tiny"):
        with pytest.raises(ModelNotPulled):
            pulled.get(name)
        with pytest.raises(ModelNotPulled):
            pulled.remove(name)


def test_changed_bytes_are_found_by_verify(pulled: ModelStore) -> None:
    path = pulled.model_path("tiny")
    with path.open("r+b") as file:
        file.seek(-10, 2)
        file.write(b"x")
    assert pulled.get("tiny")  # the size is the same: only reading it all can tell
    with pytest.raises(ModelBroken, match="is not what was pulled"):
        pulled.verify("tiny")


def test_a_damaged_vocabulary_is_found_by_verify(pulled: ModelStore) -> None:
    pulled.vocabulary_path("tiny").write_bytes(b"zzzz")
    with pytest.raises(ModelBroken, match="tollway models remove tiny"):
        pulled.verify("tiny")


@pytest.mark.parametrize("damage", ["no facts", "no json", "other json", "no model", "short model", "no vocabulary", "moved"])
def test_a_broken_folder_is_reported_and_mended_by_a_pull(pulled: ModelStore, tiny_model: Path, damage: str) -> None:
    folder = pulled.path / "tiny"
    facts = folder / "model.json"
    match damage:
        case "no facts":
            facts.unlink()
        case "no json":
            facts.write_bytes(b"\xff{")
        case "other json":
            facts.write_text('{"name": "tiny"}')
        case "no model":
            (folder / "model.gguf").unlink()
        case "short model":
            (folder / "model.gguf").write_bytes(b"GGUF")
        case "no vocabulary":
            (folder / "vocabulary.msgpack").unlink()
        case "moved":
            facts.write_bytes(facts.read_bytes().replace(b'"name": "tiny"', b'"name": "other"'))
    assert list(pulled.list()) == []
    (problem,) = pulled.broken()
    assert "tollway models remove tiny" in str(problem)
    with pytest.raises(ModelBroken, match="broken"):
        pulled.get("tiny")
    assert not pull(str(tiny_model), pulled).already_there
    assert pulled.verify("tiny")


def test_a_missing_projector_breaks_a_model_that_sees(store: ModelStore, tiny_model: Path, tiny_eyes: Path) -> None:
    facts = pull(str(tiny_model), store, mmproj=str(tiny_eyes)).facts
    assert facts.sees
    assert store.verify("tiny") == facts
    projector = store.path / "tiny" / "mmproj.gguf"
    projector.write_bytes(projector.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelBroken, match=r"mmproj\.gguf is not what was pulled"):
        store.verify("tiny")
    projector.unlink()
    with pytest.raises(ModelBroken, match=r"mmproj\.gguf is missing"):
        store.get("tiny")


def test_facts_of_an_earlier_version_may_lack_newer_fields(pulled: ModelStore) -> None:
    path = pulled.path / "tiny" / "model.json"
    facts = msgspec.json.decode(path.read_bytes())
    del facts["mmproj_sha256"]
    path.write_bytes(msgspec.json.encode(facts | {"a_later_field": 1}))
    assert pulled.get("tiny").mmproj_sha256 is None


def _pull(source: str, path: str) -> bool:
    return pull(source, ModelStore(Path(path))).already_there


def test_pulls_at_one_moment_give_one_whole_model(store: ModelStore, tiny_model: Path) -> None:
    race(4, _pull, str(tiny_model), str(store.path))
    assert store.verify("tiny")
    assert [entry.name for entry in store.path.iterdir()] == ["tiny"]


def test_what_a_killed_pull_left_behind_is_cleared_and_a_living_one_kept(store: ModelStore, tiny_model: Path) -> None:
    for name in (".pull-dead", ".pull-alive"):
        (store.path / name).mkdir(parents=True)
        (store.path / name / "lock").touch()
        (store.path / name / "model.gguf").write_bytes(b"half")
    with (store.path / ".pull-alive" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pull(str(tiny_model), store)
        assert sorted(entry.name for entry in store.path.iterdir()) == [".pull-alive", "tiny"]


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(EngineError, match="cannot be read: Not a directory"):
        pull(str(tiny_model), ModelStore(tmp_path / "file" / "models"))
    with pytest.raises(PullError, match="cannot be written: Not a directory"), ModelStore(tmp_path / "file" / "x").staging():
        pass


def test_installing_twice_keeps_the_first_and_refuses_another(pulled: ModelStore, tiny_model: Path) -> None:
    facts = pulled.get("tiny")

    def install(described: ModelFacts) -> ModelFacts:
        with pulled.staging() as staging:
            (staging / "model.gguf").write_bytes(tiny_model.read_bytes())
            return pulled.install(staging / "model.gguf", described, [b"a"])

    assert install(facts) == facts
    with pytest.raises(PullError, match="taken by another model"):
        install(msgspec.structs.replace(facts, sha256="0" * 64))
