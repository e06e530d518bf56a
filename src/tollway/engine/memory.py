"""How much context fits into this machine's memory."""

import os
from pathlib import Path

from tollway.engine.facts import ModelFacts

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_COMFORTABLE_BYTES = 512 << 20


def plan_context(facts: ModelFacts, slots: int, wanted_tokens: int, memory_bytes: int | None = None) -> tuple[int, int]:
    """(tokens that one answer may take, tokens that all running answers share).

    The slots share one pool, and llama.cpp has no remedy when it runs out: it fails every running answer. A pool in which all
    slots can be full at once would be 1.4 GiB for SmolLM2-135M with 8 slots, all of it touched at each start, which made
    restarts take seconds longer. So by default it holds several full answers: 512 MiB, or an eighth of the memory where that
    is less (SmolLM2-135M: 23,301 tokens, and at 25 tokens a second and stream it takes minutes to fill them). It always
    holds one answer of the trained context, if that fits into half of the memory. `wanted_tokens`, when not 0, is the
    operator's word.
    """
    if wanted_tokens:
        return min(wanted_tokens, facts.context_tokens), wanted_tokens
    if not facts.kv_bytes_per_token:
        return facts.context_tokens, facts.context_tokens
    memory = memory_bytes or total_memory_bytes()
    one = min(facts.context_tokens, max(512, memory // 2 // facts.kv_bytes_per_token))
    comfortable = min(_COMFORTABLE_BYTES, memory // 8) // facts.kv_bytes_per_token
    return one, min(slots * one, max(one, comfortable))


def total_memory_bytes() -> int:
    """Of the machine, or of the container where that has less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(memory, int(_CGROUP_LIMIT.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no cgroups here, or "max"
        return memory
