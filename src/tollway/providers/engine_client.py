"""Talking to one engine process over its loopback port; its faults become Tollway's errors."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
import structlog
from msgspec import Struct

from tollway.engine import EngineEndpoint
from tollway.errors import (
    BadGateway,
    ContextLengthExceeded,
    RateLimited,
    ServiceUnavailable,
    TollwayError,
    UnsupportedParameter,
)
from tollway.providers.http import HttpClient, target_of
from tollway.providers.http_connection import Connection

log = structlog.get_logger()

CONNECT_SECONDS_MAX = 5
SILENCE_SECONDS_MAX = 300
"""Long enough for prompts of a full context ahead in the queue; a healthy engine speaks far earlier."""


PromptValue = str | list[str | int] | dict[str, Any]
"""Text; text and token ids in turn; or text with images, as the engine takes them."""


class TokenChance(Struct):
    """A token that was likely at a position. `bytes` are the token's own."""

    id: int
    logprob: float
    bytes: list[int] = []


class EngineLogprob(Struct):
    """The token that was chosen at a position, and the likeliest ones there."""

    id: int
    logprob: float
    top_logprobs: list[TokenChance] = []


class Timings(Struct):
    """What the engine counted for one choice."""

    cache_n: int = 0
    draft_n: int = 0
    draft_n_accepted: int = 0


class EngineEvent(Struct):
    """One event of a completion stream: a piece of text (`stop` false), or the end of one choice."""

    index: int = 0
    content: str = ""
    tokens: list[int] = []
    stop: bool = False
    stop_type: Literal["none", "eos", "word", "limit"] = "none"
    tokens_predicted: int = 0
    tokens_evaluated: int = 0
    timings: Timings | None = None
    completion_probabilities: list[EngineLogprob] = []
    error: dict[str, Any] | None = None


_decode_event = msgspec.json.Decoder(EngineEvent).decode


class EngineClient:
    """One engine. Cheap; holds nothing but the address."""

    def __init__(self, endpoint: EngineEndpoint) -> None:
        self.endpoint = endpoint
        self._target = target_of(endpoint.url)
        # Connecting costs a fraction of a millisecond here; a connection kept open would hold one of the engine's threads.
        self._http = HttpClient(silence_seconds=SILENCE_SECONDS_MAX, connect_seconds=CONNECT_SECONDS_MAX, keep=False)
        self._head = (
            f"Host: {self._target.host_header}\r\nAuthorization: Bearer {endpoint.api_key}\r\nConnection: close\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )

    async def healthy(self) -> bool:
        """Whether the engine answers and has loaded its model."""
        try:
            async with asyncio.timeout(2), self._exchange("/health", None) as exchange:
                return await exchange.head() == 200
        except OSError:
            return False

    async def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One question, one JSON answer; a GET without a body."""
        async with self._answer(path, body) as exchange:
            answer: dict[str, Any] = msgspec.json.decode(await exchange.rest())
            return answer

    async def prompt_tokens(self, prompt: PromptValue) -> int:
        """How many tokens a prompt has."""
        if isinstance(prompt, dict):  # images are counted by reading them, which their answer then need not do again
            body = {"prompt": prompt, "n_predict": 0, "cache_prompt": True, "response_fields": ["tokens_evaluated"]}
            return int((await self.ask("/completion", body))["tokens_evaluated"])
        return len((await self.ask("/tokenize", {"content": prompt, "add_special": True, "parse_special": True}))["tokens"])

    async def complete(self, body: dict[str, Any]) -> AsyncGenerator[EngineEvent]:
        """The events of one completion. Leaving the loop early closes the connection, which frees the engine's slots."""
        async with self._answer("/completion", body) as exchange:
            try:
                rest = b""
                while data := await exchange.piece():
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        if line.startswith((b"data: {", b"error: {")):
                            event = _decode_event(line.partition(b": ")[2])
                            if event.error is not None:
                                raise _engine_error(event.error)
                            yield event
            except msgspec.DecodeError as error:
                raise BadGateway("The engine's answer could not be read.", code="engine_interrupted") from error

    @asynccontextmanager
    async def _answer(self, path: str, body: dict[str, Any] | None) -> AsyncIterator[Connection]:
        """A good answer's exchange; what goes wrong until it is closed is raised as one of our errors."""
        try:
            async with self._exchange(path, body) as exchange:
                if await exchange.head() != 200:
                    raise _engine_error(_error_of(await exchange.rest()))
                yield exchange
        except OSError as error:
            log.warning("engine_away", model=self.endpoint.model, path=path, error=type(error).__name__)
            raise ServiceUnavailable(
                f"The model `{self.endpoint.model}` is restarting. Try again in a few seconds.",
                code="engine_away",
                retry_after_seconds=3,
            ) from error

    @asynccontextmanager
    async def _exchange(self, path: str, body: dict[str, Any] | None) -> AsyncIterator[Connection]:
        data = b"" if body is None else msgspec.json.encode(body)
        method = "GET" if body is None else "POST"
        head = f"{method} {path} HTTP/1.1\r\n{self._head}{len(data)}\r\n\r\n"
        exchange = await self._http.send(self._target, head.encode() + data)
        try:
            yield exchange
        finally:
            exchange.close()


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        error = msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def context_exceeded(prompt_tokens: object, context_tokens: object) -> ContextLengthExceeded:
    """The error for a prompt that leaves no room for an answer."""
    return ContextLengthExceeded(
        f"This model's maximum context length is {context_tokens} tokens, but the messages take {prompt_tokens} tokens. "
        "Shorten the messages.",
        param="messages",
        data={"prompt_tokens": prompt_tokens, "context_tokens": context_tokens},
    )


def _engine_error(error: dict[str, Any]) -> TollwayError:
    """The engine's error object as ours. Its own text stays in the log: it can quote the prompt's grammar."""
    kind, text = error.get("type"), str(error.get("message", ""))
    if kind == "exceed_context_size_error":
        return context_exceeded(error.get("n_prompt_tokens"), error.get("n_ctx"))
    if kind == "unavailable_error":
        return ServiceUnavailable("The model is being loaded. Try again in a few seconds.", retry_after_seconds=3)
    log.error("engine_refused", type=kind, text=text[:500])
    if "context" in text.lower():  # the cells that all slots share ran out
        return RateLimited(
            "The model's context memory is full with other answers. Try again in a moment.",
            code="engine_busy",
            retry_after_seconds=5,
        )
    if "grammar" in text.lower():
        return UnsupportedParameter("The engine cannot enforce this schema. Simplify it.", param="response_format")
    return BadGateway("The engine failed on this request.", code="engine_error")
