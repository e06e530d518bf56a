"""The engine process: `python -m tollway.engine.child`, with its configuration as one line of JSON on stdin.

It lives as long as its stdin is open and its parent is the one that started it, so that it never outlives a supervisor, not
even one that was killed. Its configuration, key included, comes by stdin, because command lines and environments can be read
by others. What goes wrong before the model is ready is on stderr; from then on nothing is, because llama.cpp's later messages
can quote prompts and grammars.
"""

import os
import select
import sys
from typing import Any

import msgspec

from tollway.engine.child_config import ChildConfig
from tollway.engine.errors import loading_hint

_PARENT_POLL_SECONDS = 1.0
_LOG_ERRORS_ONLY = 1
_PROMPT_CACHE_MIB = 512


def main() -> None:
    line = sys.stdin.buffer.readline()
    if not line:
        return
    config = msgspec.json.decode(line, type=ChildConfig)
    os.environ["LLAMA_MEDIA_MARKER"] = config.image_mark  # else the engine draws one that nobody knows
    try:
        import xllamacpp
    except ImportError as error:
        sys.exit(f"xllamacpp does not load: {error}. {loading_hint(str(error))}")
    try:
        server = xllamacpp.Server(parameters(config))  # noqa: F841  (serves from threads of its own while it is referenced)
    except RuntimeError as error:
        print(error, file=sys.stderr)  # noqa: T201  (llama.cpp has said why above)
        os._exit(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    while os.getppid() == config.parent_pid:
        readable, _, _ = select.select([sys.stdin], [], [], _PARENT_POLL_SECONDS)
        if readable:
            break
    os._exit(0)  # not by the server's destructor: it would wait for running answers, and there is nothing to save


def parameters(config: ChildConfig) -> Any:
    """The configuration as llama.cpp's own."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config.model_path
    if config.projector_path:
        params.mmproj.path = config.projector_path
    params.n_ctx = config.pool_tokens
    params.n_parallel = config.slots
    params.kv_unified = True
    params.cont_batching = True
    params.cache_prompt = True
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.fit_params = False
    params.warmup = True
    if config.threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config.threads
    types = xllamacpp.common_speculative_type
    speculation = {"none": types.COMMON_SPECULATIVE_TYPE_NONE, "ngram_map_k": types.COMMON_SPECULATIVE_TYPE_NGRAM_MAP_K}
    params.speculative.types = [speculation[config.speculation]]
    # Short keys and short drafts: an edit changes a word now and then, and what is drafted beyond it was computed in vain.
    params.speculative.ngram_map_k.size_n, params.speculative.ngram_map_k.size_m = 6, 12
    params.hostnames = ["127.0.0.1"]
    params.port = config.port
    params.reuse_port = config.port_is_reserved
    params.api_keys = [config.api_key]
    params.n_threads_http = config.http_threads
    params.cors_origins, params.cors_credentials = "", False  # no page of a browser has business here
    params.prefill_assistant = False  # else it goes on with what the caller's last message says, as if that were its own
    params.ui = False
    params.endpoint_slots = True
    params.endpoint_props = False
    params.endpoint_metrics = False
    params.verbosity = _LOG_ERRORS_ONLY
    return params


if __name__ == "__main__":
    main()
