import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader, TokenType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tiny_gguf import write_tiny_model

from tollway.engine.errors import ModelFileError
from tollway.engine.facts import ModelFacts
from tollway.engine.gguf_facts import check_projector, read_facts, read_silent_tokens, token_bytes
from tollway.engine.gguf_file import read_gguf

HEADER = b"GGUF" + struct.pack("<I", 3)


def field(key: str, value: str | int | list[str] | list[int]) -> bytes:
    """One key and value of a header: texts, and numbers of 32 bits."""
    kinds: dict[type, tuple[int, Callable[[Any], bytes]]] = {
        str: (8, lambda text: struct.pack("<Q", len(text)) + text.encode()),
        int: (4, lambda number: struct.pack("<I", number)),
    }
    kind, packed = kinds[type(value[0] if isinstance(value, list) else value)]
    head = kinds[str][1](key)
    if isinstance(value, list):
        return head + struct.pack("<IIQ", 9, kind, len(value)) + b"".join(map(packed, value))
    return head + struct.pack("<I", kind) + packed(value)


def header_of(*fields: bytes) -> bytes:
    return HEADER + struct.pack("<QQ", 0, len(fields)) + b"".join(fields)


NUMBERS_FOR_TOKENS = header_of(
    field("general.architecture", "llama"), field("llama.context_length", 8), field("tokenizer.ggml.tokens", [1, 2])
)


def facts_of(path: Path) -> tuple[ModelFacts, list[bytes]]:
    facts, vocabulary = read_facts(path, name="tiny", source="here", sha256="0" * 64, source_sha256="1" * 64)
    return facts, list(vocabulary)


def test_it_reads_what_the_gguf_library_reads(tiny_model: Path) -> None:
    ours, theirs = read_gguf(tiny_model), GGUFReader(tiny_model)
    assert {key: ours.get(key) for key in theirs.fields if not key.startswith("GGUF.")} == {
        key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")
    }
    assert [(t.name, t.type, t.size_bytes, ours.data_start + t.offset, list(t.shape)) for t in ours.tensors] == [
        (t.name, t.tensor_type, t.n_bytes, t.data_offset, t.shape.tolist()) for t in theirs.tensors
    ]


def test_the_facts_of_a_model(tiny_model: Path) -> None:
    facts, vocabulary = facts_of(tiny_model)
    assert (facts.title, facts.developer, facts.architecture, facts.quantisation) == ("Tiny", "Tests", "llama", "F32")
    assert (facts.context_tokens, facts.size_bytes) == (2048, tiny_model.stat().st_size)
    assert facts.kv_bytes_per_token == 2 * 2 * 64 * 2  # keys and values, 2 bytes, 64 wide, 2 layers
    assert facts.special_tokens == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert facts.end_tokens == {"<|endoftext|>": 0, "<|im_end|>": 2}
    assert facts.silent_tokens == read_silent_tokens(tiny_model) == {"<|im_start|>": 1}
    assert (facts.thinks, facts.has_chat_template, facts.sees) == (False, True, False)
    assert sorted(vocabulary[3:259]) == [bytes([byte]) for byte in range(256)]
    assert vocabulary[:3] == [b"<|endoftext|>", b"<|im_start|>", b"<|im_end|>"]
    assert b" the" in vocabulary


def test_special_tokens_come_longest_first_and_whitespace_marks_nothing(tmp_path: Path) -> None:
    extra = {"<|im_start|>x": TokenType.USER_DEFINED, "\n\n": TokenType.USER_DEFINED, "</s>": TokenType.NORMAL}
    facts, _ = facts_of(write_tiny_model(tmp_path / "m.gguf", extra_tokens=extra))
    assert facts.special_tokens == ["<|endoftext|>", "<|im_start|>x", "<|im_start|>", "<|im_end|>", "</s>"]
    assert "</s>" in facts.end_tokens


@pytest.mark.parametrize("template", ["{% if enable_thinking %}x{% endif %}", "<think>\n"])
def test_a_model_that_thinks_is_known_by_its_template(tmp_path: Path, template: str) -> None:
    assert facts_of(write_tiny_model(tmp_path / "m.gguf", chat_template=template))[0].thinks


def test_the_bytes_of_tokens_of_both_kinds_of_vocabulary() -> None:
    normal, byte, control = int(TokenType.NORMAL), int(TokenType.BYTE), int(TokenType.CONTROL)
    sentence = token_bytes(["▁the", "<0xE2>", "<s>", "é"], [normal, byte, control, normal], byte_level=False)
    assert sentence == [b" the", b"\xe2", b"<s>", "é".encode()]
    assert token_bytes(["Ġthe", "âĤ", "<s>", "▁"], [normal, normal, control, normal], byte_level=True) == [
        b" the",
        b"\xe2\x82",
        b"<s>",
        "▁".encode(),
    ]


def test_a_projector_is_no_model_and_a_model_no_projector(tiny_model: Path, tiny_eyes: Path) -> None:
    check_projector(tiny_eyes)
    with pytest.raises(ModelFileError, match="--mmproj"):
        facts_of(tiny_eyes)
    with pytest.raises(ModelFileError, match="not a vision projector"):
        check_projector(tiny_model)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a GGUF file"),
        (b"GGU", "not a GGUF file"),
        (b"PK\x03\x04" + bytes(100), "not a GGUF file"),
        (b"GGUF", "truncated"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (HEADER + struct.pack("<QQ", 0, 2**63), "more entries"),
        (HEADER + struct.pack("<QQ", 2**40, 0), "more entries"),
        (HEADER + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 2**63), "truncated"),
        # An array of 2^63 bytes: the gguf library would read it for ever.
        (HEADER + struct.pack("<QQ", 0, 1) + struct.pack("<Q1sIIQ", 1, b"k", 9, 0, 2**63), "truncated"),
        (HEADER + struct.pack("<QQ", 0, 1) + struct.pack("<Q1sIIQ", 1, b"k", 9, 8, 40), "truncated"),
        (HEADER + struct.pack("<QQ", 0, 1) + struct.pack("<Q1sIIQ", 1, b"k", 9, 9, 1), "unknown value type 9"),
        (HEADER + struct.pack("<QQ", 0, 1) + struct.pack("<Q1sI", 1, b"k", 99), "unknown value type 99"),
        (HEADER + struct.pack("<QQ", 1, 0) + struct.pack("<Q1sI", 1, b"t", 9), "9 dimensions"),
        (HEADER + struct.pack("<QQ", 1, 0) + struct.pack("<Q1sIQIQ", 1, b"t", 1, 32, 9999, 0), "unknown type 9999"),
        (HEADER + struct.pack("<QQ", 1, 0) + struct.pack("<Q1sIQIQ", 1, b"t", 1, 31, 8, 0), "whole blocks"),
        (HEADER + struct.pack("<QQ", 1, 0) + struct.pack("<Q1sIQIQ", 1, b"t", 1, 2**62, 0, 0), "last weights"),
        (HEADER + struct.pack("<QQ", 0, 0) + bytes(32), "no language model"),
        (header_of(field("a", 1), field("a", 2)), "appears twice"),
        (header_of(field("general.alignment", "x")), "not a power of two"),
        (header_of(field("general.alignment", 0)), "not a power of two"),
        (header_of(field("general.alignment", 24)), "not a power of two"),
        (header_of(field("general.architecture", "llama"), field("llama.context_length", 8)), "no language model"),
        (NUMBERS_FOR_TOKENS, "metadata makes no sense"),
    ],
)
def test_a_hostile_file_gets_a_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        facts_of(path)


def test_a_file_that_is_cut_anywhere_gets_a_clear_error(tiny_model: Path, tmp_path: Path) -> None:
    content, path = tiny_model.read_bytes(), tmp_path / "cut.gguf"
    for length in [*range(4, 400, 7), 5000, len(content) // 2, len(content) - 100]:
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"truncated|no language model"):
            facts_of(path)


@settings(max_examples=200, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_headers_never_raise_anything_else(tiny_model: Path, tmp_path: Path, damage: list[tuple[int, int]]) -> None:
    content = bytearray(tiny_model.read_bytes())
    for position, value in damage:
        content[position] = value
    path = tmp_path / f"damaged-{os.getpid()}.gguf"
    path.write_bytes(content)
    try:
        facts_of(path)
    except ModelFileError as error:
        assert len(str(error)) < 400  # noqa: PT017
