"""Reads the facts and the vocabulary of a model from its GGUF. Done once, when it is pulled."""

from collections.abc import Sequence
from pathlib import Path

from gguf import LlamaFileType, TokenType

from tollway.engine.errors import ModelFileError
from tollway.engine.facts import ModelFacts
from tollway.engine.gguf_file import GgufFile, read_gguf

_THINKING_MARKS = ("<think>", "enable_thinking", "reasoning_content", "<|channel|>analysis", "[THINK]")
# The tokens that llama.cpp takes for an end of generation by their text, whatever the metadata says.
_END_TEXTS = frozenset(
    {"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>"}
    | {"<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "<|end_of_text|>", "<end_of_utterance>", "<eos>"}
    | {"<turn|>", "<｜end▁of▁sentence｜>"}
)
_END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


def read_facts(
    path: Path, *, name: str, source: str, sha256: str, source_sha256: str, title: str = "", developer: str = ""
) -> tuple[ModelFacts, Sequence[bytes]]:
    """The facts of a text model, and the bytes of each token by its id. Raises ModelFileError.

    `title` and `developer` override what the file says.
    """
    header = read_gguf(path)
    architecture = _text(header, "general.architecture")
    if architecture == "clip":
        raise ModelFileError("This is a vision projector; give it with --mmproj beside its model.")
    context, texts = header.get(f"{architecture}.context_length"), header.get("tokenizer.ggml.tokens")
    if not isinstance(context, int) or context < 1 or not isinstance(texts, list) or not texts:
        raise ModelFileError("This is no language model: it lacks a context length or a vocabulary.")
    template = _text(header, "tokenizer.chat_template")
    try:
        types = header.get("tokenizer.ggml.token_type", [])
        ends = _end_tokens(header, texts)
        facts = ModelFacts(
            name=name,
            title=title or _text(header, "general.name") or name,
            developer=developer or _text(header, "general.organization"),
            source=source,
            sha256=sha256,
            size_bytes=path.stat().st_size,
            source_sha256=source_sha256,
            architecture=architecture,
            quantisation=_quantisation(header),
            context_tokens=context,
            kv_bytes_per_token=_kv_bytes_per_token(header, architecture),
            special_tokens=_special_tokens(texts, types),
            end_tokens=ends,
            silent_tokens=_silent_tokens(texts, types, ends),
            thinks=any(mark in template for mark in _THINKING_MARKS),
            has_chat_template=bool(template),
        )
        return facts, token_bytes(texts, types, byte_level=header.get("tokenizer.ggml.model") == "gpt2")
    except (TypeError, ValueError, AttributeError, IndexError) as error:  # hostile: numbers where texts belong
        raise ModelFileError(f"Its metadata makes no sense: {error!r}"[:300]) from None


def read_silent_tokens(path: Path) -> dict[str, int]:
    """The `silent_tokens` of a model that was pulled before there was such a fact. Takes some tenths of a second."""
    header = read_gguf(path)
    texts: list[str] = header.get("tokenizer.ggml.tokens", [])
    return _silent_tokens(texts, header.get("tokenizer.ggml.token_type", []), _end_tokens(header, texts))


def check_projector(path: Path) -> None:
    """Raises ModelFileError unless the file is a vision projector."""
    if read_gguf(path).get("general.architecture") != "clip":
        raise ModelFileError("This is not a vision projector (general.architecture is not `clip`).")


def _special_tokens(texts: list[str], types: list[int]) -> list[str]:
    special = {
        text
        for text, kind in zip(texts, types, strict=False)
        # Whitespace runs are user-defined in some vocabularies; they mark nothing.
        if kind in (TokenType.CONTROL, TokenType.USER_DEFINED) and text.strip()
    }
    return sorted(special | _END_TEXTS.intersection(texts), key=lambda text: (-len(text), text))


def token_bytes(texts: list[str], types: list[int], *, byte_level: bool) -> list[bytes]:
    """What each token stands for.

    `byte_level` vocabularies write each byte as a printable character; the others write a space as U+2581 and have tokens
    `<0x00>` to `<0xFF>`. Control and user-defined tokens stand for their text.
    """
    alphabet = _byte_alphabet()
    found = []
    for token, text in enumerate(texts):
        kind = types[token] if token < len(types) else TokenType.NORMAL
        if kind == TokenType.BYTE:
            found.append(bytes([int(text[3:5], 16)]))
        elif kind != TokenType.NORMAL:
            found.append(text.encode())
        elif byte_level and all(character in alphabet for character in text):
            found.append(bytes(alphabet[character] for character in text))
        else:
            found.append((text if byte_level else text.replace("\u2581", " ")).encode())
    return found


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes: themselves where printable in Latin-1, otherwise from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + index): byte for index, byte in enumerate(others)}


def _end_tokens(header: GgufFile, texts: list[str]) -> dict[str, int]:
    declared = [header.get(f"tokenizer.ggml.{key}") for key in _END_KEYS]
    ids = {token for token in declared if isinstance(token, int) and 0 <= token < len(texts)}
    ids |= {token for token, text in enumerate(texts) if text in _END_TEXTS}
    return {texts[token]: token for token in sorted(ids)}


def _silent_tokens(texts: list[str], types: list[int], ends: dict[str, int]) -> dict[str, int]:
    kinds = zip(texts, types, strict=False)
    return {text: token for token, (text, kind) in enumerate(kinds) if kind == TokenType.CONTROL and text not in ends}


def _kv_bytes_per_token(header: GgufFile, architecture: str) -> int:
    layers = header.get(f"{architecture}.block_count", 0)
    heads = header.get(f"{architecture}.attention.head_count", 0)
    kv_heads = header.get(f"{architecture}.attention.head_count_kv", heads)
    if isinstance(heads, list):
        heads = max(heads, default=0)
    head_size = header.get(f"{architecture}.embedding_length", 0) // heads if heads else 0
    key = header.get(f"{architecture}.attention.key_length", head_size)
    value = header.get(f"{architecture}.attention.value_length", head_size)
    return int(2 * (key + value) * (sum(kv_heads) if isinstance(kv_heads, list) else layers * kv_heads))


def _quantisation(header: GgufFile) -> str:
    try:
        return LlamaFileType(header.get("general.file_type", -1)).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:
        return max((tensor.size_bytes, tensor.type.name) for tensor in header.tensors)[1] if header.tensors else "?"


def _text(header: GgufFile, key: str) -> str:
    value = header.get(key, "")
    return value if isinstance(value, str) else ""
