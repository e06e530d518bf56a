"""Models of a few hundred kB with random weights: real to llama.cpp, nonsense to a reader.

They speak byte-level BPE with every byte as a token, so any text goes in and any text may come out, and wear SmolLM2's chat
template. The same seed gives the same bytes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, LlamaFileType, TokenType

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h e", "Ġ t", "Ġt he", "i n", "e r"]

_EMBEDDING, _LAYERS, _HEADS, _FEED_FORWARD = 64, 2, 4, 128
_IMAGE_SIDE, _PATCH_SIDE = 28, 14


def write_tiny_model(
    path: Path,
    *,
    seed: int = 0,
    context_tokens: int = 2048,
    weights: GGMLQuantizationType = GGMLQuantizationType.F32,
    chat_template: str = CHAT_TEMPLATE,
    extra_tokens: Mapping[str, TokenType] | None = None,
    name: str = "Tiny",
) -> Path:
    """A llama with two layers. `weights` is the type of its matrices, such as Q4_1."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_organization("Tests")
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_1 if weights == GGMLQuantizationType.Q4_1 else LlamaFileType.ALL_F32)
    writer.add_context_length(context_tokens)
    writer.add_embedding_length(_EMBEDDING)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_EMBEDDING // _HEADS)
    vocabulary = _add_vocabulary(writer, chat_template, extra_tokens or {})

    random = np.random.default_rng(seed)

    def matrix(tensor: str, rows: int, columns: int) -> None:
        values = (random.standard_normal((rows, columns)) / columns**0.5).astype(np.float32)
        writer.add_tensor(tensor, gguf.quants.quantize(values, weights), raw_dtype=weights)

    matrix("token_embd.weight", vocabulary, _EMBEDDING)
    matrix("output.weight", vocabulary, _EMBEDDING)
    _add_ones(writer, "output_norm.weight")
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        _add_ones(writer, f"{block}.attn_norm.weight")
        _add_ones(writer, f"{block}.ffn_norm.weight")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"{block}.{part}.weight", _EMBEDDING, _EMBEDDING)
        matrix(f"{block}.ffn_gate.weight", _FEED_FORWARD, _EMBEDDING)
        matrix(f"{block}.ffn_up.weight", _FEED_FORWARD, _EMBEDDING)
        matrix(f"{block}.ffn_down.weight", _EMBEDDING, _FEED_FORWARD)
    return _written(writer, path)


def write_tiny_vision(path: Path, *, seed: int = 0) -> Path:
    """The vision projector (`mmproj`) for `write_tiny_model`: LLaVA's, which makes 4 tokens of any image."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_name("Tiny eyes")
    writer.add_type("mmproj")
    writer.add_file_type(LlamaFileType.ALL_F32)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_uint32("clip.vision.embedding_length", _EMBEDDING)
    writer.add_uint32("clip.vision.attention.head_count", _HEADS)
    writer.add_uint32("clip.vision.feed_forward_length", _FEED_FORWARD)
    writer.add_uint32("clip.vision.block_count", 2)
    writer.add_uint32("clip.vision.projection_dim", _EMBEDDING)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_uint32("clip.vision.image_size", _IMAGE_SIDE)
    writer.add_uint32("clip.vision.patch_size", _PATCH_SIDE)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    writer.add_bool("clip.use_gelu", True)

    random = np.random.default_rng(seed)

    def weights(tensor: str, *shape: int) -> None:
        writer.add_tensor(tensor, (random.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32))

    weights("v.patch_embd.weight", _EMBEDDING, 3, _PATCH_SIDE, _PATCH_SIDE)
    weights("v.position_embd.weight", (_IMAGE_SIDE // _PATCH_SIDE) ** 2, _EMBEDDING)
    for layer in range(2):
        block = f"v.blk.{layer}"
        for norm in ("ln1", "ln2"):
            _add_ones(writer, f"{block}.{norm}.weight")
            writer.add_tensor(f"{block}.{norm}.bias", np.zeros(_EMBEDDING, np.float32))
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            weights(f"{block}.{part}.weight", _EMBEDDING, _EMBEDDING)
        weights(f"{block}.ffn_up.weight", _FEED_FORWARD, _EMBEDDING)
        weights(f"{block}.ffn_down.weight", _EMBEDDING, _FEED_FORWARD)
    for step in (0, 2):
        weights(f"mm.{step}.weight", _EMBEDDING, _EMBEDDING)
        writer.add_tensor(f"mm.{step}.bias", np.zeros(_EMBEDDING, np.float32))
    return _written(writer, path)


def _add_vocabulary(writer: Any, chat_template: str, extra_tokens: Mapping[str, TokenType]) -> int:
    kinds: dict[str, TokenType] = dict.fromkeys(CONTROL_TOKENS, TokenType.CONTROL)
    kinds |= dict.fromkeys(_byte_characters(), TokenType.NORMAL)
    kinds |= {merge.replace(" ", ""): TokenType.NORMAL for merge in MERGES}
    kinds |= extra_tokens
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(kinds))
    writer.add_token_types(list(kinds.values()))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat_template)
    writer.add_vocab_size(len(kinds))
    return len(kinds)


def _byte_characters() -> list[str]:
    """GPT-2's character for each of the 256 bytes."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    characters, next_code = [], 256
    for byte in range(256):
        characters.append(chr(byte if byte in printable else next_code))
        next_code += byte not in printable
    return characters


def _add_ones(writer: Any, tensor: str) -> None:
    ones: npt.NDArray[np.float32] = np.ones(_EMBEDDING, np.float32)
    writer.add_tensor(tensor, ones)


def _written(writer: Any, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
