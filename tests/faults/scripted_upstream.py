"""An OpenAI-compatible upstream in a process of its own, whose callers say in their message how it is to behave.

`python -m tests.faults.scripted_upstream` prints its port. The message is JSON: `pieces` of content of so many `words`, `pause`
seconds before each, `fail`: "status" (a 500), "break" (the stream is cut after half of the pieces), and `usage` to report
instead of the true one.
"""

import asyncio
import json
import logging
from typing import Any

from tests.fakes.faults import Cut, Received, Reply, Step, Wait
from tests.fakes.openai import FakeOpenAI, chunk, error_reply


class ScriptedOpenAI(FakeOpenAI):
    asked = 0

    async def answer(self, received: Received) -> Reply:
        self.asked += 1
        refusal = self._refusal(received)
        self.received.clear()  # it may run for hours
        if refusal is not None:
            return refusal
        body = json.loads(received.body)
        script = json.loads(body["messages"][-1]["content"])
        if script.get("fail") == "status":
            return error_reply(500, "scripted")
        return Reply(list(_steps(script, (body.get("stream_options") or {}).get("include_usage"))))


def _steps(script: dict[str, Any], with_usage: bool | None) -> "list[Step]":
    pieces, pause = script.get("pieces", 5), script.get("pause", 0.0)
    piece = [Wait(pause)] * bool(pause) + [_event(chunk({"content": "word " * script.get("words", 1)}))]
    steps: list[Step] = [_event(chunk({"role": "assistant", "content": ""}))]
    for number in range(pieces):
        if script.get("fail") == "break" and number >= pieces // 2:
            return [*steps, Cut()]
        steps += piece
    steps.append(_event(chunk({}, finish_reason="stop")))
    usage = script.get("usage", {"prompt_tokens": 100, "completion_tokens": pieces, "total_tokens": 100 + pieces})
    if with_usage:
        steps.append(_event({**chunk({}), "choices": [], "usage": usage}))
    return [*steps, b"data: [DONE]\n\n"]


def _event(event: Any) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


async def main() -> None:
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it tells of every connection that is cut on purpose
    upstream = ScriptedOpenAI()
    await upstream.start()
    print(upstream.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
