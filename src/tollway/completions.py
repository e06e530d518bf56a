"""The one use case: answer a chat completion. It reads top to bottom like a request's way.

`start` resolves, checks and begins the answer; `Answer` hands it out, as a stream of chunks or folded into one completion.
The provider's work runs in a task that the application owns, not the connection: what is counted and charged never depends
on the HTTP server telling us that a client left.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import structlog
from msgspec import UNSET, structs

from tollway import clock, ids
from tollway.accounts import Caller, require
from tollway.catalog import Catalog, Route
from tollway.errors import InternalError, InvalidRequest, TollwayError
from tollway.metering import credits_for, markup_micro
from tollway.money import usd
from tollway.providers.base import Meter
from tollway.providers.routing import Journey, Router
from tollway.settings import Settings
from tollway.wire.chat import (
    AnswerMessage,
    AnswerToolCall,
    ChatRequest,
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    CompletionMeta,
    Cost,
    Delta,
    FinishReason,
    FunctionCall,
    FunctionCallDelta,
    Logprobs,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

log = structlog.get_logger()

# Chunks that may wait for a slow reader before the provider is made to wait too.
QUEUE_CHUNKS_MAX = 256


class Completions:
    """Answers chat completions. One instance serves one process."""

    def __init__(self, catalog: Catalog, router: Router, settings: Settings) -> None:
        self._catalog = catalog
        self._router = router
        self._strict = settings.strict_parameters
        self._markup = markup_micro(settings.markup)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, request: ChatRequest, unknown_fields: list[str], caller: Caller, request_id: str) -> "Answer":
        """Begins the answer. Raises whatever can be said before the provider is asked: unknown model, parameter it lacks.

        `unknown_fields` are top-level fields of the body that the contract does not know.
        """
        plan = self._catalog.resolve(request.model)
        require(caller, "model:chat", plan.model)
        if unknown_fields and self._strict:
            for name in unknown_fields:
                if not all(route.upstream.quirks.takes(name) for route in plan.routes):
                    raise InvalidRequest(f"Unknown parameter: {name}.", param=name, code="unknown_parameter")
        answer = Answer(request, self._router.begin(request, plan, request_id), unknown_fields, self._markup)
        task = asyncio.create_task(answer.run(caller, request_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        answer.task = task
        return answer

    async def drain(self, seconds: float) -> None:
        """Lets running answers finish; what still runs after `seconds` is cancelled."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()


class Answer:
    """One answer on its way from the provider to the caller. Read it once: `chunks` or `completion`."""

    task: asyncio.Task[None]

    def __init__(self, request: ChatRequest, journey: Journey, unknown_fields: list[str], markup: int) -> None:
        self.id = ids.completion_id()
        self.inference_id = ids.request_id()
        self.created = int(clock.now())
        self.journey = journey
        self.cost: Cost | None = None
        """What it cost; set once the answer is complete."""
        self._request = request
        self._unknown_fields = unknown_fields
        self._markup = markup
        self._usage: Usage | None = None
        self._meter = Meter()
        self._queue: asyncio.Queue[ChunkChoice | TollwayError | None] = asyncio.Queue(QUEUE_CHUNKS_MAX)
        self._first: ChunkChoice | TollwayError | None = None

    @property
    def route(self) -> Route:
        """Who answers. Final once there is a first chunk; until then, who is being asked."""
        return self.journey.route

    @property
    def ignored_parameters(self) -> list[str]:
        takes = self.route.upstream.quirks.takes
        return [*(name for name in self._unknown_fields if not takes(name)), *self.journey.ignored]

    async def run(self, caller: Caller, request_id: str) -> None:
        """Pumps the stream into the queue and settles at the end. The body of the application's task."""
        began = clock.monotonic()
        outcome = "cancelled"
        last: TollwayError | None = None
        try:
            async with aclosing(self.journey.stream(self._meter)) as stream:
                async for item in stream:
                    if isinstance(item, Usage):
                        self._usage = item
                    else:
                        await self._queue.put(item)
            self._settle()
            outcome = "done"
        except TollwayError as error:
            outcome, last = error.code, error
        except Exception:
            log.exception("provider_failed", request_id=request_id, model=self.route.answers_as)
            outcome, last = "internal_error", InternalError("The answer could not be made because of a fault of ours.")
        finally:
            log.info(
                "completion",
                request_id=request_id,
                inference_id=self.inference_id,
                account=caller.account_id,
                model=self.route.answers_as,
                outcome=outcome,
                prompt_tokens=self._usage.prompt_tokens if self._usage else None,
                completion_tokens=self._usage.completion_tokens if self._usage else None,
                credits=self.cost.credits_used if self.cost else 0,
                duration_ms=round((clock.monotonic() - began) * 1000),
            )
        await self._queue.put(last)

    def _settle(self) -> None:
        """Turns the usage into credits."""
        if self._usage is None:
            raise InternalError("The provider reported no usage.")
        credits_used = credits_for(self._usage, self.route.price, self._markup)
        self.cost = Cost(credits_used=credits_used, usd_spent=usd(credits_used))

    def cancel(self) -> None:
        """The caller is gone: stops the provider's work, which frees its slot."""
        self.task.cancel()

    # --- handing it out -----------------------------------------------------------------------------------------------

    async def first_chunk(self, seconds: float) -> None:
        """Waits until there is something to send, or for `seconds`. Raises the failure of an answer that never began."""
        try:
            async with asyncio.timeout(seconds):
                self._first = await self._queue.get()
        except TimeoutError:
            return
        if isinstance(self._first, TollwayError):
            raise self._first

    async def _next(self) -> ChunkChoice | None:
        item, self._first = self._first, None
        if item is None:
            item = await self._queue.get()
        if isinstance(item, TollwayError):
            raise item
        if item is not None and self._request.uses_legacy_functions:
            item = _in_legacy_shape(item)
        return item

    async def chunks(self) -> AsyncIterator[Chunk]:
        """The stream's events in the contract's order.

        The last finish_reason is held back until the answer is settled, because it tells the caller that all is well, and
        carries the cost when no usage chunk was asked for. Raises what breaks the stream.
        """
        with_usage = self._request.include_usage
        held: ChunkChoice | None = None
        while (choice := await self._next()) is not None:
            if choice.finish_reason is not None:
                choice, held = held, choice
                if choice is None:
                    continue
            yield self._chunk([choice], with_usage)
        final = self._chunk([held] if held else [], with_usage)
        meta = CompletionMeta(self.cost)
        if not with_usage:
            final.meta = meta
            yield final
            return
        yield final
        yield Chunk(self.id, self.created, self.route.answers_as, [], usage=self._usage, meta=meta)

    def _chunk(self, choices: list[ChunkChoice], with_usage: bool) -> Chunk:
        return Chunk(self.id, self.created, self.route.answers_as, choices, usage=None if with_usage else UNSET)

    async def completion(self) -> Completion:
        """The whole answer: a fold over the same chunks that a stream would send."""
        folds = [_Fold() for _ in range(self._request.choices_count)]
        while (choice := await self._next()) is not None:
            folds[choice.index].add(choice)
        if self._usage is None:
            raise InternalError("The provider reported no usage.")
        return Completion(
            id=self.id,
            created=self.created,
            model=self.route.answers_as,
            choices=[fold.choice(index) for index, fold in enumerate(folds)],
            usage=self._usage,
            meta=CompletionMeta(self.cost),
        )


class _Fold:
    """The chunks of one choice, added up."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[ToolCallDelta] = []
        self._arguments: list[list[str]] = []
        self._function: list[str] = []
        self._function_arguments: list[str] = []
        self._logprobs: list[TokenLogprob] | None = None
        self._finish_reason: FinishReason | None = None

    def add(self, chunk: ChunkChoice) -> None:
        delta = chunk.delta
        if delta.content:
            self._content.append(delta.content)
        if delta.reasoning_content:
            self._reasoning.append(delta.reasoning_content)
        if delta.refusal:
            self._refusal.append(delta.refusal)
        for call in delta.tool_calls or ():
            if call.index == len(self._calls):
                self._calls.append(call)
                self._arguments.append([])
            if call.function:
                self._arguments[call.index].append(call.function.arguments or "")
        if delta.function_call:
            self._function.append(delta.function_call.name or "")
            self._function_arguments.append(delta.function_call.arguments or "")
        if chunk.logprobs and chunk.logprobs.content:
            self._logprobs = [*(self._logprobs or ()), *chunk.logprobs.content]
        self._finish_reason = chunk.finish_reason or self._finish_reason

    def choice(self, index: int) -> Choice:
        if self._finish_reason is None:
            raise InternalError("The provider left a choice unfinished.")
        calls = [
            AnswerToolCall(
                id=call.id or ids.tool_call_id(),
                function=FunctionCall(name=(call.function.name or "") if call.function else "", arguments="".join(arguments)),
            )
            for call, arguments in zip(self._calls, self._arguments, strict=True)
        ]
        function = FunctionCall("".join(self._function), "".join(self._function_arguments)) if self._function else UNSET
        content = "".join(self._content)
        message = AnswerMessage(
            content=None if not content and (calls or function) else content,
            reasoning_content="".join(self._reasoning) or UNSET,
            refusal="".join(self._refusal) or None,
            tool_calls=calls or None,
            function_call=function,
        )
        logprobs = Logprobs(self._logprobs) if self._logprobs is not None else None
        return Choice(index=index, message=message, finish_reason=self._finish_reason, logprobs=logprobs)


def _in_legacy_shape(choice: ChunkChoice) -> ChunkChoice:
    """For callers that sent `functions`: the one call as `function_call`."""
    if choice.finish_reason == "tool_calls":
        return structs.replace(choice, finish_reason="function_call")
    if choice.delta.tool_calls:
        pieces = [call.function for call in choice.delta.tool_calls if call.function]
        name = next((piece.name for piece in pieces if piece.name), UNSET)
        arguments = "".join(piece.arguments or "" for piece in pieces)
        return structs.replace(choice, delta=Delta(function_call=FunctionCallDelta(name=name, arguments=arguments)))
    return choice
