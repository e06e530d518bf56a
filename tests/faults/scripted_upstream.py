"""An OpenAI-compatible upstream in a process of its own, whose callers say in their message how it is to behave.

`python -m tests.faults.scripted_upstream` prints its port. The message is JSON: `pieces` of content of so many `words`, `pause`
seconds before each, `fail`: "status" (a 500), "break" (the stream is cut after half of the pieces), and `usage` to report
instead of the true one.
"""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

from tests.fakes.faults import Cut, Received, Reply, Step, Wait
from tests.fakes.openai import MODEL, FakeOpenAI, chunk, error_reply


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
        if not body.get("stream"):
            return Reply(list(_whole(script)), content_type="application/json")
        return Reply(list(_events(script, (body.get("stream_options") or {}).get("include_usage"))))


def _whole(script: dict[str, Any]) -> Iterator[Step]:
    pieces = script.get("pieces", 5)
    message = {"role": "assistant", "content": "word " * script.get("words", 1) * pieces, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice]}
    body = json.dumps(answer | {"usage": _usage(script, pieces)}).encode()
    if script.get("fail") == "break":
        yield from (Wait(script.get("pause", 0.0) * (pieces // 2)), body[: len(body) // 2], Cut())
    else:
        yield from (Wait(script.get("pause", 0.0) * pieces), body)


def _events(script: dict[str, Any], with_usage: bool | None) -> Iterator[Step]:
    pieces, pause = script.get("pieces", 5), script.get("pause", 0.0)
    piece = _event(chunk({"content": "word " * script.get("words", 1)}))
    yield _event(chunk({"role": "assistant", "content": ""}))
    for number in range(pieces):
        if script.get("fail") == "break" and number >= pieces // 2:
            yield Cut()
            return
        if pause:
            yield Wait(pause)
        yield piece
    yield _event(chunk({}, finish_reason="stop"))
    if with_usage:
        yield _event({**chunk({}), "choices": [], "usage": _usage(script, pieces)})
    yield b"data: [DONE]\n\n"


def _usage(script: dict[str, Any], pieces: int) -> Any:
    return script.get("usage", {"prompt_tokens": 100, "completion_tokens": pieces, "total_tokens": 100 + pieces})


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
