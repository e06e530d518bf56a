"""A strict fake upstream by hand, for a look at what Tollway does when an upstream fails: `make upstream`.

    python -m tests.fakes [--dialect openai|gemini] [--fault NAME] [--share 1.0] [--port 9000]

On stdout is a `tollway.toml` that has the fake in front and the embedded model behind it; on stderr is what each request gets.
For an upstream that refuses connections, end it.
"""

import argparse
import asyncio
import random
import re
import sys
from collections.abc import Callable
from dataclasses import replace

from tests.fakes import gemini, openai
from tests.fakes.faults import FAULTS, Reply

KEYS = {"openai": openai.API_KEY, "gemini": gemini.KEY}
MODELS = {"openai": openai.MODEL, "gemini": gemini.MODELS[0]}
PUBLIC = "demo/fails-over"
TOML = """\
# export FAKE_KEY={key}

[upstreams.fake]
dialect = "{dialect}"
base_url = "{base_url}"
key_variable = "FAKE_KEY"
first_token_seconds = 3
between_tokens_seconds = 3

[[models]]
id = "{public}"
context_length = 2048
price = {{ prompt = "1", completion = "1" }}
routes = [
    {{ upstream = "fake", model = "{model}" }},
    {{ upstream = "local", model = "smollm2-135m-instruct", priority = 1 }},
]
"""


def _wrong_usage(good: Reply) -> Reply:
    """Every count is a million million."""
    counts = re.compile(rb'("\w*(?:_tokens|TokenCount)": )\d+')
    return replace(
        good, steps=[counts.sub(rb"\g<1>1000000000000", step) if isinstance(step, bytes) else step for step in good.steps]
    )


SPOILS: dict[str, Callable[[Reply], Reply]] = {"none": lambda good: good, **FAULTS, "wrong_usage": _wrong_usage}


async def serve(dialect: str, fault: str, share: float, port: int) -> None:
    fake: openai.FakeOpenAI | gemini.FakeGemini = openai.FakeOpenAI() if dialect == "openai" else gemini.FakeGemini()

    def spoil(good: Reply) -> Reply:
        name = fault if random.random() < share else "none"
        print(f"request {len(fake.received)}: {name}", file=sys.stderr, flush=True)
        return SPOILS[name](good)

    fake.spoil = spoil
    await fake.start(port)
    toml = TOML.format(key=KEYS[dialect], dialect=dialect, base_url=fake.base_url, public=PUBLIC, model=MODELS[dialect])
    print(toml, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fakes", description="A strict fake upstream that fails as it is told."
    )
    parser.add_argument("--dialect", choices=KEYS, default="openai")
    parser.add_argument("--fault", choices=SPOILS, default="none", help="what is wrong with its answers")
    parser.add_argument("--share", type=float, default=1.0, help="the share of its answers with which it is, 0 to 1")
    parser.add_argument("--port", type=int, default=9000, help="0 = any that is free")
    options = parser.parse_args()
    try:
        asyncio.run(serve(options.dialect, options.fault, options.share, options.port))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"{error.strerror}. `--port 0` takes any port that is free.")


if __name__ == "__main__":
    main()
