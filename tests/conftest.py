"""Fixtures for all tests. The service is started once; tests of one parameter share it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live import LiveServer, serving

from tollway import settings

DEFAULT_MODEL = "smollm2-135m-instruct"


@pytest.fixture(scope="session")
def models_path() -> Path:
    """The folder of pulled models, the default one among them. `make test` pulls it."""
    path = settings.load().models_path
    if not (path / DEFAULT_MODEL / "model.json").exists():
        message = f"the default model is not in {path}: run `tollway models pull`, or `make test`, which does"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture(scope="session")
def server(models_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A running service with the default model and 4 slots."""
    with serving(tmp_path_factory.mktemp("live") / "home", models_path, engine_slots="4", engine_threads="1") as live:
        yield live
