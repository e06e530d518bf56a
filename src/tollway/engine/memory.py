"""How much context fits into this machine's memory."""

import os
from pathlib import Path

from tollway.engine.facts import ModelFacts

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_COMFORTABLE_BYTES = 1536 << 20


def plan_context(facts: ModelFacts, slots: int, wanted_tokens: int, memory_bytes: int | None = None) -> tuple[int, int]:
    """(tokens that one answer may take, tokens that all running answers share).

    The slots share one pool of context. llama.cpp has no remedy when the pool runs out: it fails every running answer. So by
    default the pool is large enough for all slots to be full at once, as long as that takes no more than 1.5 GiB and an
    eighth of the memory (SmolLM2-135M with 8 slots: 65,536 tokens, 1.4 GiB). It always holds one answer of the trained
    context, if that fits into half of the memory at all. `wanted_tokens`, when not 0, is the operator's word.
    """
    if wanted_tokens:
        return min(wanted_tokens, facts.context_tokens), wanted_tokens
    if not facts.kv_bytes_per_token:
        return facts.context_tokens, facts.context_tokens
    memory = memory_bytes or _memory_bytes()
    one = min(facts.context_tokens, max(512, memory // 2 // facts.kv_bytes_per_token))
    comfortable = min(_COMFORTABLE_BYTES, memory // 8) // facts.kv_bytes_per_token
    return one, min(slots * one, max(one, comfortable))


def _memory_bytes() -> int:
    """Of the machine, or of the container where that has less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(_CGROUP_LIMIT.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no cgroups here, or "max"
        return memory
