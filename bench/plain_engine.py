"""The engine's wheel as it comes: llama.cpp's own server and chat endpoint with its own defaults, one answer at a time.

    python -m bench.plain_engine MODEL.gguf PORT

What `bench.engine_work` compares with. Ends when its stdin is closed.
"""

import sys

import xllamacpp


def main() -> None:
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.n_parallel = 1
    params.n_ctx = 8192
    params.port = int(sys.argv[2])
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
