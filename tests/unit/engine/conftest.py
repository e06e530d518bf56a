from pathlib import Path

import pytest
from tests.tiny_gguf import write_tiny_model, write_tiny_vision

from tollway.engine import ModelStore
from tollway.engine.fetch import pull


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny_eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_vision(tmp_path_factory.mktemp("tiny") / "mmproj-tiny.gguf")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """An empty store."""
    return ModelStore(tmp_path / "models")


@pytest.fixture
def pulled(store: ModelStore, tiny_model: Path) -> ModelStore:
    """A store with the model `tiny`."""
    pull(str(tiny_model), store)
    return store
