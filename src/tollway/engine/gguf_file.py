"""A strict reader of GGUF headers: metadata and the table of tensors, never the weights.

The `gguf` library's reader takes seconds for a large vocabulary and can be sent into an endless loop by a hostile header (an
array of 2^63 numbers in a truncated file). This one takes milliseconds and believes no count that the file cannot hold.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

import mmap
import struct
from pathlib import Path
from typing import Any

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from msgspec import Struct

from tollway.engine.errors import ModelFileError

MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_ENTRIES_MAX = 100_000
"""Metadata keys and tensors: the largest models have a few thousand."""
_DIMENSIONS_MAX = 4


class Value(Struct, frozen=True):
    """A metadata value and where its bytes lie in the file."""

    content: Any
    start: int
    end: int


class Tensor(Struct, frozen=True):
    """`offset` counts from the start of the data section; `shape` has the fastest dimension first, as in the file."""

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    offset: int
    size_bytes: int


class GgufFile(Struct, frozen=True):
    """`metadata_start` to `metadata_end` are the bytes of all keys and values, `data_start` the first byte of the weights."""

    version: int
    metadata: dict[str, Value]
    metadata_start: int
    metadata_end: int
    tensors: list[Tensor]
    alignment: int
    data_start: int

    def get(self, key: str, default: Any = None) -> Any:
        value = self.metadata.get(key)
        return default if value is None else value.content


def read_gguf(path: Path) -> GgufFile:
    """Reads and checks the header; the file must be long enough for every tensor. Raises ModelFileError."""
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise ModelFileError("This is not a GGUF file.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data).file()
    except OSError as error:
        raise ModelFileError(f"It cannot be read: {error.strerror}.") from None


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.size = data, len(MAGIC), len(data)

    def file(self) -> GgufFile:
        (version,) = self.take("<I")
        if version not in (2, 3):
            raise self.bad(f"GGUF version {version} is not supported (2 and 3 are)")
        tensor_count, key_count = self.take("<QQ")
        if max(tensor_count, key_count) > _ENTRIES_MAX:
            raise self.bad("the header counts more entries than any model has")
        start = self.at
        metadata: dict[str, Value] = {}
        for _ in range(key_count):
            key = self.text()
            if key in metadata:
                raise self.bad(f"the key {key[:80]!r} appears twice")
            metadata[key] = self.value()
        end = self.at
        alignment = metadata["general.alignment"].content if "general.alignment" in metadata else 32
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20 or alignment & (alignment - 1):
            raise self.bad("general.alignment is not a power of two")
        tensors = [self.tensor() for _ in range(tensor_count)]
        data_start = -(-self.at // alignment) * alignment
        for tensor in tensors:
            if data_start + tensor.offset + tensor.size_bytes > self.size:
                raise self.bad("the file is truncated: it ends before its last weights")
        if len({tensor.name for tensor in tensors}) != len(tensors):
            raise self.bad("two tensors have one name")
        return GgufFile(version, metadata, start, end, tensors, alignment, data_start)

    def bad(self, why: str) -> ModelFileError:
        return ModelFileError(f"This is not a usable GGUF file: {why}.")

    def skip(self, size: int) -> int:
        """Moves on by `size` bytes, which must be there, and returns where they begin."""
        start = self.at
        if size > self.size - start:
            raise self.bad("the file is truncated")
        self.at = start + size
        return start

    def take(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack_from(layout, self.data, self.skip(struct.calcsize(layout)))

    def text(self) -> str:
        (length,) = self.take("<Q")
        start = self.skip(length)
        # Vocabularies hold stray bytes now and then; they are described, not executed.
        return self.data[start : self.at].decode("utf-8", "replace")

    def value(self) -> Value:
        (kind,) = self.take("<I")
        start = self.at
        if kind == _STRING:
            content: Any = self.text()
        elif kind == _ARRAY:
            content = self.array()
        else:
            (content,) = self.take("<" + self.scalar(kind))
        return Value(content, start, self.at)

    def scalar(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise self.bad(f"unknown value type {kind}")
        return _SCALARS[kind]

    def array(self) -> list[Any]:
        kind, count = self.take("<IQ")
        if count > self.size:  # every element takes a byte at least
            raise self.bad("the file is truncated")
        if kind == _STRING:
            return [self.text() for _ in range(count)]
        return list(self.take(f"<{count}{self.scalar(kind)}"))

    def tensor(self) -> Tensor:
        name = self.text()
        (dimensions,) = self.take("<I")
        if dimensions > _DIMENSIONS_MAX:
            raise self.bad(f"tensor {name[:80]!r} has {dimensions} dimensions")
        shape = self.take(f"<{dimensions}Q")
        kind, offset = self.take("<IQ")
        try:
            block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        except (ValueError, KeyError):
            raise self.bad(f"tensor {name[:80]!r} has the unknown type {kind}") from None
        elements = 1
        for length in shape:
            elements *= length
        if shape and shape[0] % block:
            raise self.bad(f"the rows of tensor {name[:80]!r} do not fill whole blocks")
        return Tensor(name, shape, GGMLQuantizationType(kind), offset, elements // block * block_bytes)
