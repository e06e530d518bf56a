"""The engine's events as chunk choices: in one phase, or in two where a thought has to be bounded.

llama.cpp bounds a thought only when the model generates the mark that opens it. So a thought that the template has opened is
generated on its own, up to its closing mark or its budget. The rest of the answer is a second completion, whose prompt is the
first one's and the thought: the engine has both in its cache still.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from msgspec import Struct, structs

from tollway.errors import BadGateway
from tollway.providers.assembly import THINK_CLOSING, THINK_OPENING, ChoiceAssembler, Mode
from tollway.providers.base import Meter
from tollway.providers.engine_client import EngineClient, EngineEvent, PromptValue, Timings
from tollway.providers.merging import merged
from tollway.providers.token_logprobs import LogprobCollector
from tollway.wire.chat import (
    ChunkChoice,
    CompletionTokensDetails,
    Delta,
    FinishReason,
    Logprobs,
    PromptTokensDetails,
    TokenLogprob,
    Usage,
)

SEED_MODULUS = 2**31 - 1
"""The engine reads the seed as a signed 32-bit integer."""
_CLOSED_FOR_IT = f"\n{THINK_CLOSING}\n\n"
_ROOM_TOKENS = 32
"""What must be left of the context after a thought, for its closing mark and the beginning of an answer."""
_GRAMMAR = frozenset(("grammar", "grammar_lazy", "grammar_triggers"))


class Prompt(Struct):
    """A rendered prompt, and how the answer to it begins."""

    value: PromptValue
    thinking: Mode
    end_marks: int
    """How often the end-of-turn mark stands in the prompt; it counts for penalties."""


class ChoiceStream:
    """One choice: the engine's events in, chunk choices out; and what it took."""

    def __init__(
        self, index: int, assembler: ChoiceAssembler, meter: Meter, collector: Callable[[PromptValue], LogprobCollector] | None
    ) -> None:
        """`collector` makes what collects the logprobs after a prompt; None = none were asked for."""
        self.index = index
        self.prompt_tokens = self.cached_tokens = 0
        self.completion_tokens = self.reasoning_tokens = 0
        self.drafted_tokens = self.accepted_tokens = 0
        self.ended = False
        self._assembler = assembler
        self._meter = meter
        self._make_collector = collector
        self._collector: LogprobCollector | None = None
        self._started = False
        self._phases = 0
        self._tokens_seen = 0  # of this phase
        self._timings = Timings()  # of this phase

    def begin(self, prompt: PromptValue) -> None:
        """Before each phase: what it follows."""
        self._phases += 1
        self._tokens_seen = 0
        self._timings = Timings()
        self._collector = self._make_collector(prompt) if self._make_collector else None

    async def read(self, event: EngineEvent, closing: str | None = None) -> list[ChunkChoice]:
        """The chunks of one event. `closing` is given with the end of a first phase: how the thought ends in the prompt."""
        chunks: list[ChunkChoice] = []
        if not self._started:
            self._started = True
            chunks.append(ChunkChoice(self.index, Delta(role="assistant", content="")))
        self._count(event)
        deltas = self._assembler.feed(event.content)
        if closing == _CLOSED_FOR_IT:
            deltas += self._assembler.feed(THINK_CLOSING)
        elif event.stop and closing is None:
            deltas += self._assembler.finish(cut=event.stop_type == "limit")
        self.ended = self._assembler.stopped or (event.stop and closing is None)
        logprobs = None
        if entries := await self._logprobs(event):
            logprobs = Logprobs(entries)
            deltas = deltas or [Delta()]
        for delta in deltas:
            chunks.append(ChunkChoice(self.index, delta, logprobs=logprobs))
            logprobs = None
        if self.ended:
            chunks.append(ChunkChoice(self.index, Delta(), finish_reason=self._finish_reason(event)))
        return chunks

    async def _logprobs(self, event: EngineEvent) -> list[TokenLogprob]:
        if self._collector is None:
            return []
        entries = await self._collector.collect(event)
        if self.ended and not event.stop:  # there is no event after this one that would settle what waits
            entries += await self._collector.collect(structs.replace(event, content="", stop=True))
        return entries

    def _count(self, event: EngineEvent) -> None:
        tokens, self._tokens_seen = event.tokens_predicted - self._tokens_seen, event.tokens_predicted
        self.completion_tokens += tokens
        if self._assembler.mode is Mode.REASONING:
            self.reasoning_tokens += tokens
        self._meter.completion_tokens = (self._meter.completion_tokens or 0) + tokens
        if self._phases == 1 and event.tokens_evaluated:
            self._meter.prompt_tokens = self.prompt_tokens = event.tokens_evaluated
        if event.timings is not None:  # which count from the phase's beginning
            before, self._timings = self._timings, event.timings
            self.drafted_tokens += event.timings.draft_n - before.draft_n
            self.accepted_tokens += event.timings.draft_n_accepted - before.draft_n_accepted
            if self._phases == 1:
                self.cached_tokens = min(event.timings.cache_n, self.prompt_tokens)

    def _finish_reason(self, event: EngineEvent) -> FinishReason:
        if self._assembler.stopped:
            return "stop"
        if event.stop_type == "limit":
            return "length"
        return "tool_calls" if self._assembler.has_calls else "stop"


async def generate(client: EngineClient, body: dict[str, Any], choices: Sequence[ChoiceStream]) -> AsyncGenerator[ChunkChoice]:
    """One group of choices, each in its own slot, as chunk choices in the order in which their tokens come.

    A choice that a stop sequence has ended is not read further; the engine's work ends with the last of the group.
    """
    for choice in choices:
        choice.begin(body["prompt"])
    unfinished = len(choices)
    async with aclosing(client.complete(body)) as events:
        async for event in events:
            choice = choices[event.index]
            if choice.ended:
                continue
            for chunk in await choice.read(event):
                yield chunk
            unfinished -= choice.ended
            if not unfinished:
                break
    if unfinished:
        raise BadGateway("The engine ended its answer early. Try again.", code="engine_interrupted")


# --- bounded thoughts -------------------------------------------------------------------------------------------------


async def generate_bounded(
    client: EngineClient, body: dict[str, Any], choices: Sequence[ChoiceStream], *, budget: int
) -> AsyncGenerator[ChunkChoice]:
    """As `generate`, for a prompt that ends in an open thought: it takes `budget` tokens at the most.

    The grammar is for the answer; the thought has nothing to do with it.
    """
    limit: int = body["n_predict"]  # -1 = none
    thoughts = [_Thought() for _ in choices]
    alone = {name: value for name, value in body.items() if name not in _GRAMMAR}
    alone |= {
        "stop": [THINK_CLOSING],
        "preserved_tokens": [THINK_OPENING, THINK_CLOSING],
        "n_predict": budget if limit < 0 else min(budget, limit),
    }
    for choice in choices:
        choice.begin(body["prompt"])
    rests: list[AsyncGenerator[ChunkChoice]] = []
    unfinished = len(choices)
    async with aclosing(client.complete(alone)) as events:
        async for event in events:
            choice, thought = choices[event.index], thoughts[event.index]
            thought.add(event)
            closing = None
            if event.stop:
                unfinished -= 1
                closing = _closing(event, alone["n_predict"], limit, client.endpoint.context_tokens)
                if event.stop_type == "word":  # the mark, which the engine keeps to itself
                    event = structs.replace(  # noqa: PLW2901
                        event, content=event.content + THINK_CLOSING, stop_type="word" if closing else "limit"
                    )
            for chunk in await choice.read(event, closing):
                yield chunk
            if closing is not None:
                rest = body | {"prompt": thought.after(body["prompt"], closing), "n_cmpl": 1}
                rest["n_predict"] = limit if limit < 0 else limit - event.tokens_predicted
                if "seed" in body:
                    rest["seed"] = (body["seed"] + event.index) % SEED_MODULUS
                rests.append(generate(client, rest, [choice]))
    if unfinished:
        raise BadGateway("The engine ended its answer early. Try again.", code="engine_interrupted")
    async with aclosing(merged(rests)) as items:
        async for _, item in items:
            if item is not None:
                yield item


def _closing(event: EngineEvent, budget: int, limit: int, context_tokens: int) -> str | None:
    """How the thought that ended so is closed in the second prompt; None when the answer ends with it."""
    tokens = event.tokens_predicted
    if 0 <= limit <= tokens or event.tokens_evaluated + tokens + _ROOM_TOKENS > context_tokens:
        return None
    if event.stop_type == "word":
        return THINK_CLOSING
    return _CLOSED_FOR_IT if event.stop_type == "limit" and tokens >= budget else None


class _Thought:
    """What was generated in a first phase."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._tokens: list[int] = []
        self._tokens_made = 0

    def add(self, event: EngineEvent) -> None:
        self._text.append(event.content)
        if event.stop:
            self._tokens_made = event.tokens_predicted - (event.stop_type == "word")
        else:
            self._tokens += event.tokens

    def after(self, prompt: PromptValue, closing: str) -> PromptValue:
        """The prompt with the thought: as the tokens that were made, or as text where the engine has not shown all of them."""
        text = "".join(self._text) + closing
        if isinstance(prompt, dict):
            return prompt | {"prompt_string": prompt["prompt_string"] + text}
        shown = self._tokens if len(self._tokens) == self._tokens_made else []
        if isinstance(prompt, str) and not shown:
            return prompt + text  # a list of nothing but texts would be several prompts
        head = prompt if isinstance(prompt, list) else [prompt]
        return [*head, *shown, closing] if shown else [*head, text]


def usage_of(choices: Sequence[ChoiceStream], *, predicted: bool) -> Usage:
    """What all choices took together; the prompt counts once, however many choices were made from it."""
    completion = sum(choice.completion_tokens for choice in choices)
    reasoning = sum(choice.reasoning_tokens for choice in choices)
    details = None
    if reasoning or predicted:
        accepted = sum(choice.accepted_tokens for choice in choices)
        drafted = sum(choice.drafted_tokens for choice in choices)
        details = CompletionTokensDetails(
            reasoning_tokens=reasoning,
            accepted_prediction_tokens=accepted if predicted else None,
            rejected_prediction_tokens=drafted - accepted if predicted else None,
        )
    first = choices[0]
    return Usage(
        prompt_tokens=first.prompt_tokens,
        completion_tokens=completion,
        total_tokens=first.prompt_tokens + completion,
        completion_tokens_details=details,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=first.cached_tokens),
    )
