"""What drafting from the conversation brings on an edit task: the same engine with and without it, in one run.

    python -m bench.prediction

The answer is a piece of code from the prompt with two words changed. A grammar holds the model to it: small models do not edit
well, and what drafting brings depends on the text alone. Runs alternate between the two engines; reported is the
median of tokens per second, prompt excluded, and how many drafted tokens were accepted.
"""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import msgspec
from tests.live import free_port

from tollway.engine.child_config import ChildConfig, Speculation
from tollway.settings import load

RUNS = 5
CODE = "\n\n".join(
    f"def {name}(width, height):\n    result = {formula}\n    print('computing', result)\n    return result"
    for name, formula in (("area", "width * height"), ("perimeter", "2 * (width + height)"), ("ratio", "width / height"))
)
EDITED = CODE.replace("ratio", "proportion").replace("'computing', result", "'computed', result")
PROMPT = (
    f"<|im_start|>user\n```python\n{CODE}\n```\nRename `ratio` to `proportion`, print `computed` instead of `computing`, and "
    "answer with the whole code and nothing else.<|im_end|>\n<|im_start|>assistant\n```python\n"
)


class Engine:
    """One engine process."""

    def __init__(self, speculation: Speculation) -> None:
        self.port, self.key = free_port(), secrets.token_hex(16)
        settings = load()
        config = ChildConfig(
            model_path=str(settings.models_path / settings.default_model / "model.gguf"),
            projector_path=None,
            port=self.port,
            port_is_reserved=False,
            api_key=self.key,
            image_mark="<__image__>",
            slots=1,
            pool_tokens=4096,
            threads=0,
            http_threads=4,
            speculation=speculation,
            parent_pid=os.getpid(),
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tollway.engine.child"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdin
        self.process.stdin.write(msgspec.json.encode(config) + b"\n")
        self.process.stdin.flush()

    def ask(self) -> dict[str, Any]:
        body = {"prompt": PROMPT, "temperature": 0, "n_predict": 400, "grammar": f"root ::= {json.dumps(EDITED)}"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/completion", json.dumps(body).encode(), {"Authorization": f"Bearer {self.key}"}
        )
        with urllib.request.urlopen(request) as response:
            timings: dict[str, Any] = json.load(response)["timings"]
            return timings

    def ready(self) -> None:
        while True:
            try:
                self.ask()
                return
            except OSError:
                time.sleep(0.1)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    engines = {"none": Engine("none"), "drafted": Engine("ngram_map_k")}
    try:
        for engine in engines.values():
            engine.ready()
        rates: dict[str, list[float]] = {name: [] for name in engines}
        accepted: list[str] = []
        for _ in range(RUNS):
            for name, engine in engines.items():
                timings = engine.ask()
                rates[name].append(timings["predicted_per_second"])
                if name == "drafted":
                    accepted.append(f"{timings.get('draft_n_accepted', 0)}/{timings.get('draft_n', 0)}")
    finally:
        for engine in engines.values():
            engine.process.kill()
            engine.process.wait()
    medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    report = {"tokens_per_second": medians, "ratio": round(medians["drafted"] / medians["none"], 2), "accepted": accepted}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
