from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize
from tests.tiny_gguf import write_tiny_model

from tollway.engine.errors import ModelFileError
from tollway.engine.fetch import known_models
from tollway.engine.gguf_file import read_gguf
from tollway.engine.requantise import requantise_q4_1_to_q8_0
from tollway.engine.store import file_sha256

Q4_1, Q8_0, F32 = GGMLQuantizationType.Q4_1, GGMLQuantizationType.Q8_0, GGMLQuantizationType.F32


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Q4_1 model, and the Q8_0 model made of it."""
    folder = tmp_path_factory.mktemp("requantise")
    source, target = write_tiny_model(folder / "q4_1.gguf", weights=Q4_1), folder / "q8_0.gguf"
    requantise_q4_1_to_q8_0(source, target)
    return source, target


def test_every_weight_is_kept_to_the_precision_of_q8_0(pair: tuple[Path, Path]) -> None:
    before, after = (GGUFReader(path).tensors for path in pair)
    assert [tensor.name for tensor in before] == [tensor.name for tensor in after]
    for old, new in zip(before, after, strict=True):
        if old.tensor_type == F32:
            assert (new.tensor_type, new.data.tobytes()) == (F32, old.data.tobytes())
            continue
        assert (old.tensor_type, new.tensor_type) == (Q4_1, Q8_0)
        expected, got = dequantize(old.data, Q4_1), dequantize(new.data, Q8_0)
        largest = np.abs(expected.reshape(-1, 32)).max(axis=1)
        error = np.abs(expected - got).reshape(-1, 32).max(axis=1)
        # Half a step of 1/127, and what rounding the scale to 16 bits adds.
        assert (error <= largest / 127 * 0.5 + largest * 2**-10).all()


def test_the_metadata_stays_but_for_the_file_type(pair: tuple[Path, Path]) -> None:
    before, after = (read_gguf(path) for path in pair)
    assert after.get("general.file_type") == 7
    assert {key: value.content for key, value in after.metadata.items() if key != "general.file_type"} == {
        key: value.content for key, value in before.metadata.items() if key != "general.file_type"
    }


def test_the_same_input_gives_the_same_bytes(pair: tuple[Path, Path], tmp_path: Path) -> None:
    requantise_q4_1_to_q8_0(pair[0], tmp_path / "again.gguf")
    assert (tmp_path / "again.gguf").read_bytes() == pair[1].read_bytes()


def test_a_model_without_q4_1_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no Q4_1"):
        requantise_q4_1_to_q8_0(tiny_model, tmp_path / "out.gguf")


def test_the_default_model_is_what_was_pinned(models_path: Path) -> None:
    known = known_models()["smollm2-135m-instruct"]
    path = models_path / known.name / "model.gguf"
    assert file_sha256(path) == known.sha256
    assert {tensor.type for tensor in read_gguf(path).tensors} == {Q8_0, F32}
