"""The one use case: answer a chat completion. It reads top to bottom like a request's way.

`start` resolves, checks, sets the credits aside and begins the answer; `Answer` hands it out, as a stream of chunks or folded
into one completion. The provider's work runs in a task that the application owns, not the connection: what is counted and
charged never depends on the HTTP server telling us that a client left. The last bytes wait until the charge is durable.
"""

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from msgspec import UNSET, Struct, structs

from tollway import clock, ids
from tollway.accounts import Caller, require
from tollway.admission import Admitted, FrontDesk, Idempotency, Order, Outcome, Replay, Settled
from tollway.catalog import Catalog
from tollway.errors import InternalError, NotAffordable, ServiceUnavailable, TollwayError
from tollway.handover import Deliveries, Handover
from tollway.kept import Kept
from tollway.metering import (
    Bound,
    Tariff,
    bound_for,
    cost_of,
    credits_for,
    estimated_usage,
    markup_micro,
    tariff_of,
    tokens_expected,
    trusted_usage,
)
from tollway.money import usd
from tollway.providers.base import Item, Meter
from tollway.providers.patience import SLOW_READER_CODE
from tollway.providers.routing import Journey, Router
from tollway.settings import Settings
from tollway.usage import Origin, RequestRecord, Status
from tollway.wire.chat import ChatRequest, Chunk, ChunkChoice, Completion, CompletionMeta, Cost, Usage
from tollway.wire.dry_run import DryRun
from tollway.wire.folding import Fold, in_legacy_shape

log = structlog.get_logger()

# Chunks and bytes of text that may wait for a slow reader before the provider is made to wait too.
QUEUE_CHUNKS_MAX, QUEUE_BYTES_MAX = 64, 2**17
# Chunks that are handed out at once at the most: what a slow reader has not taken yet is memory.
CHUNKS_TOGETHER_MAX = 8
_STOP_SECONDS_MAX = 5.0


class Call(Struct):
    """A request for a completion, and where it comes from."""

    request: ChatRequest
    body_bytes: int
    caller: Caller
    request_id: str
    client_request_id: str | None = None
    origin: Origin = "api"
    idempotency: Idempotency | None = None


class Preview(Struct):
    """What can be said of an answer before it is made."""

    cost: DryRun
    ignored_parameters: list[str]
    stand_in: bool


class Completions:
    """Answers chat completions. One instance serves one process."""

    def __init__(self, catalog: Catalog, router: Router, desk: FrontDesk, settings: Settings) -> None:
        self._catalog = catalog
        self._router = router
        self._desk = desk
        self._markup = markup_micro(settings.markup)
        self._deliveries = Deliveries()
        self._running: set[Answer] = set()
        self._time_is_up = False

    async def start(self, call: Call) -> "Answer":
        """Begins the answer, or finds the one that was given before under the same Idempotency-Key.

        Raises whatever can be said before an upstream is asked: unknown model, parameter it lacks, limits, credits.
        """
        journey, bound = self._plan(call)
        if call.idempotency is None:  # else it may have been answered before
            journey.check_room()
        order = Order(
            call.request_id,
            call.caller,
            journey.route.model.id,
            bound.tariff.version,
            bound.credits,
            bound.credits_min,
            tokens_expected(call.request, call.body_bytes),
            call.idempotency,
        )
        answer = after = None
        if journey.stays_here and self._desk.vouches_for(order):
            answer = self._begin(call, journey)  # it reads the prompt while the hold is written
        try:
            admitted = await self._admitted(order, bound, call.request)
        except BaseException:
            if answer is not None:
                answer.call_off()
            raise
        if isinstance(admitted, Replay):
            return Answer.again(call, admitted.answer, self._deliveries)
        if bound.open_ended and admitted.hold.credits < bound.credits:
            # the answer ends with `length` when the money does
            call.request.max_completion_tokens = bound.output_affordable(admitted.hold.credits)
            if answer is not None:
                answer.call_off()
                journey, after, answer = self._router.again(journey), answer, None
        if answer is None:
            answer = self._begin(call, journey, after)
        answer.admit(admitted)
        return answer

    async def _admitted(self, order: Order, bound: Bound, request: ChatRequest) -> Admitted | Replay:
        try:
            return await self._desk.admit(order)
        except NotAffordable as refusal:
            parameter = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"  # the one that wins
            refusal.offer(bound.output_affordable(refusal.available), parameter)
            raise

    def _begin(self, call: Call, journey: Journey, after: "Answer | None" = None) -> "Answer":
        answer = Answer(call, journey, self._deliveries)
        journey.response_id = answer.id
        answer.task = asyncio.create_task(answer.run(self._desk, self._markup, after))
        self._running.add(answer)
        answer.task.add_done_callback(lambda _: self._running.discard(answer))
        if self._time_is_up:
            answer.stop()
        return answer

    def tariffs(self) -> list[Tariff]:
        """What every route charges, as it will be named in the ledger."""
        return [tariff_of(route.price, self._markup) for route in self._catalog.routes]

    def dry_run(self, call: Call) -> Preview:
        """The most that the request could cost, and what would have no effect. Nothing is held, asked or charged."""
        journey, bound = self._plan(call)
        cost = DryRun(
            model=journey.route.answers_as,
            prompt_tokens_max=bound.prompt_tokens,
            completion_tokens_max=bound.output_tokens * bound.choices,
            credits_max=bound.credits,
            usd_max=usd(bound.credits),
        )
        return Preview(cost, _ignored(call, journey), journey.route.stand_in)

    def _plan(self, call: Call) -> tuple[Journey, Bound]:
        plan = self._catalog.resolve(call.request.model)
        require(call.caller, "model:chat", plan.model)
        journey = self._router.begin(call.request, plan, call.request_id)
        return journey, bound_for(call.request, journey.routes, call.body_bytes, self._markup)

    async def drain(self, seconds: float) -> None:
        """Lets answers finish, also those that begin meanwhile: the bodies of their requests were still on their way. What runs
        on after `seconds`, or begins then, ends with an error, and is not charged.
        """
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, self._stop_all)
        until = loop.time() + seconds + _STOP_SECONDS_MAX
        while self._running and (left := until - loop.time()) > 0:
            await asyncio.wait([answer.task for answer in self._running], timeout=left)

    def _stop_all(self) -> None:
        self._time_is_up = True
        for answer in list(self._running):
            answer.stop()


class Answer:
    """One answer on its way from the provider to the caller. Read it once: a stream by `hand_out`, any other by
    `completion`, which has been folded by the time that it is asked for.
    """

    task: asyncio.Task[None]
    _kept: Kept
    """Only of one that is given again."""

    def __init__(self, call: Call, journey: Journey | None, deliveries: Deliveries) -> None:
        self._admission: asyncio.Future[Admitted] = asyncio.get_running_loop().create_future()
        self.id = ids.completion_id()
        self.inference_id = ids.request_id()
        self._created_at = clock.now()
        self.created = int(self._created_at)
        self.cost: Cost | None = None
        """What it cost; set once the answer is complete."""
        self.headers: dict[str, str] = {}
        """Of the limits that the caller is under."""
        self._call = call
        self._journey = journey  # None: it is given again
        self._parts: list[ChunkChoice] | None = [] if call.idempotency is not None else None
        self._usage: Usage | None = None
        self._meter = Meter()
        self._received_bytes = self._waiting_bytes = 0
        self._finish_reason: str | None = None
        self._began = clock.monotonic()
        self._first_token_ms: int | None = None
        self._has_begun = self._is_interrupted = False
        self._stopped: TollwayError | None = None
        self._settling = False  # what is being charged is no longer stopped: nobody could tell its caller whether it was
        self._is_legacy = call.request.uses_legacy_functions
        self._ready: Handover[ChunkChoice] = Handover(deliveries)
        self._opened = 0  # choices of a stream
        self._last: ChunkChoice | None = None
        self._settled: Settled | None = None
        self._folds = None if call.request.stream else [Fold() for _ in range(call.request.choices_count)]

    @classmethod
    def again(cls, call: Call, kept: bytes, deliveries: Deliveries) -> "Answer":
        """The answer that was given before."""
        answer = cls(call, None, deliveries)
        past = answer._kept = Kept.decoded(kept)
        answer.id, answer.inference_id, answer.created = past.id, past.inference_id, past.created
        answer._usage, answer.cost = past.usage, past.cost
        for choice in past.choices:
            answer._hand_over(choice)
        answer._ready.end()
        return answer

    # --- who answers: final once there is a first chunk; until then, who is being asked -------------------------------

    @property
    def answered_by(self) -> str:
        return self._kept.answered_by if self._journey is None else self._journey.route.answers_as

    @property
    def stand_in(self) -> bool:
        return self._kept.stand_in if self._journey is None else self._journey.route.stand_in

    @property
    def route_label(self) -> str:
        """Who answered, after how many attempts; empty as long as nobody was asked."""
        if self._journey is None:
            return self._kept.route_label
        return self._journey.label if self._journey.answered else ""

    @property
    def replayed(self) -> bool:
        """Whether it was given before, under the same Idempotency-Key."""
        return self._journey is None

    @property
    def ignored_parameters(self) -> list[str]:
        """Names of parameters that have no effect on the answer."""
        return self._kept.ignored if self._journey is None else _ignored(self._call, self._journey)

    @property
    def _asked(self) -> Journey:
        assert self._journey is not None  # noqa: S101 - an answer that is made has a journey
        return self._journey

    # --- making it ----------------------------------------------------------------------------------------------------

    def admit(self, admitted: Admitted) -> None:
        """To be called once, before the answer is handed out. Nothing is settled before."""
        self.headers = admitted.headers
        self._admission.set_result(admitted)

    def call_off(self) -> None:
        """Ends an answer that was begun and not admitted: it never was."""
        self._admission.cancel()
        self.task.cancel()

    async def run(self, desk: FrontDesk, markup: int, after: "Answer | None" = None) -> None:
        """Has the answer made and settles at the end. The body of the application's task.

        `after`: one that was called off, and may still have its place at the engine.
        """
        status: Status = "succeeded"
        last: TollwayError | None = None
        self._has_begun = True
        try:
            if self._is_interrupted:
                raise asyncio.CancelledError
            if after is not None:
                await asyncio.wait([after.task])
            await self._asked.answer(self._meter, self._take)
        except TollwayError as error:
            # Who reads too slowly for the time limit is charged as one who leaves: nobody failed him.
            status, last = "cancelled" if error.code == SLOW_READER_CODE else "failed", error
        except asyncio.CancelledError:
            status, last = ("failed", self._stopped) if self._stopped else ("cancelled", None)
        except Exception:
            log.exception("provider_failed", request_id=self._call.request_id, model=self.answered_by)
            status, last = "failed", InternalError("The answer could not be made because of a fault of ours.")
        self._settling = True
        admitted = await self._admission
        try:
            await self._settle(desk, admitted, markup, status, last)
        except TollwayError as error:
            last = error
        except Exception:
            log.exception("settlement_failed", request_id=self._call.request_id)
            last = InternalError("The answer could not be charged because of a fault of ours; it is free.")
        self._ready.end(last)

    def _take(self, item: Item) -> asyncio.Future[bool] | None:
        """The next item of the answer: notes what charge, log and replay have to know of it, and hands it over. See Take."""
        if isinstance(item, Usage):
            self._usage = item
            return None
        size = item.delta.text_bytes
        if size and self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        self._received_bytes += size
        if item.finish_reason is not None:
            self._finish_reason = item.finish_reason
        if self._parts is not None:
            self._parts.append(item)
        waiting = self._hand_over(item)
        self._waiting_bytes = size if waiting <= 1 else self._waiting_bytes + size
        is_full = waiting >= QUEUE_CHUNKS_MAX or (waiting > 0 and self._waiting_bytes >= QUEUE_BYTES_MAX)
        return self._ready.room() if is_full else None

    def _hand_over(self, choice: ChunkChoice) -> int:
        """To the reader of a stream; into the fold where the whole is waited for. How many wait to be taken now."""
        if self._is_legacy:
            choice = in_legacy_shape(choice)
        if self._folds is not None:
            self._folds[choice.index].add(choice)
            return 0
        return self._open(choice) if choice.delta.role else self._ready.put(choice)

    def _open(self, first: ChunkChoice) -> int:
        """Choices begin in the order of their indexes, whichever comes first: there are clients that count on it."""
        waiting = 0
        for index in range(self._opened, first.index + 1):
            waiting = self._ready.put(structs.replace(first, index=index))
        self._opened = max(self._opened, first.index + 1)
        return waiting

    async def _settle(
        self, desk: FrontDesk, admitted: Admitted, markup: int, status: Status, error: TollwayError | None
    ) -> None:
        """Charges what was used. Failed and empty answers are free; what they cost the operator is written down."""
        call, journey = self._call, self._asked
        route = journey.route
        counted = self._meter
        usage = self._usage or estimated_usage(
            call.request, call.body_bytes, self._received_bytes, counted.prompt_tokens, counted.completion_tokens
        )
        if self._usage is None:
            usage.prompt_tokens_details = counted.prompt_tokens_details
            usage.completion_tokens_details = counted.completion_tokens_details
        usage, flags = trusted_usage(usage)
        flags = [*counted.flags, *flags]
        if self._usage is None and status == "succeeded":
            flags.insert(0, "usage_missing")
        tariff = tariff_of(route.price, markup)
        cost = credits_for(usage, tariff)
        if status == "failed" and not self._received_bytes and counted.prompt_tokens is None:
            cost = 0  # as far as we know, nobody has begun to work on it
        free = status == "failed" or not self._received_bytes
        if cost > admitted.hold.credits and not free:
            flags.append("above_hold")
        details, more = usage.prompt_tokens_details, usage.completion_tokens_details
        record = RequestRecord(
            request_id=call.request_id,
            inference_id=self.inference_id,
            client_request_id=call.client_request_id,
            account_id=call.caller.account_id,
            key_id=call.caller.key_id,
            origin=call.origin,
            model=route.model.id,
            answered_by=route.answers_as,
            route=f"{route.upstream.name}/{route.upstream_model}"[:200],
            attempts=journey.attempts,
            stream=bool(call.request.stream),
            status=status,
            finish_reason=self._finish_reason if status == "succeeded" else None,
            error_code=error.code[:64] if error else None,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=(details.cached_tokens or 0) if details else 0,
            completion_tokens=usage.completion_tokens,
            reasoning_tokens=(more.reasoning_tokens or 0) if more else 0,
            held=admitted.hold.credits,
            credits=0 if free else cost,
            loss=cost if free else 0,
            price_version=tariff.version,
            flags=",".join(flags)[:200] or None,
            created_at=self._created_at,
            first_token_ms=self._first_token_ms,
            duration_ms=self._elapsed_ms(),
        )
        kept = None
        if status == "succeeded" and self._parts is not None:
            kept = self._kept_answer(self._parts, usage, cost_of(min(record.credits, admitted.hold.credits)))
        self._settled = settled = await desk.finish(Outcome(admitted, record, usage.total_tokens, kept))
        if status != "failed":
            self._usage, self.cost = usage, cost_of(settled.credits)

    def _kept_answer(self, parts: list[ChunkChoice], usage: Usage, cost: Cost) -> bytes:
        """The answer, to be given again."""
        who = (self.answered_by, self.stand_in, self.route_label, self.ignored_parameters)
        return Kept(self.id, self.inference_id, self.created, *who, parts, usage, cost).encoded()

    def _elapsed_ms(self) -> int:
        return round((clock.monotonic() - self._began) * 1000)

    def abandon(self) -> None:
        """The caller is gone: stops the provider's work, which frees its slot; what was made of it is charged.

        An answer with an Idempotency-Key is made to its end instead, because the caller can come back for it.
        """
        if self.replayed or self.task.done():
            return
        if self._parts is None and not self._settling:
            self._interrupt()
            return
        self._ready.drop()

    def stop(self) -> None:
        """Ends the answer with an error, uncharged; one that is being charged already comes to its end instead."""
        if not self._settling:
            self._stopped = ServiceUnavailable("The server is being restarted. Send the request again.", retry_after_seconds=2)
            self._interrupt()

    def _interrupt(self) -> None:
        """A task that is cancelled before its first step never takes one, and would leave what was admitted unsettled."""
        if self._has_begun:
            self.task.cancel()
        else:
            self._is_interrupted = True

    # --- handing it out -----------------------------------------------------------------------------------------------

    async def first_chunk(self, seconds: float | None = None) -> None:
        """Waits until there is something to send, or for `seconds`. Raises the failure of an answer that never began."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ready.ready()

    def chunk(self, *choices: ChunkChoice) -> Chunk:
        """An event of the stream."""
        usage = None if self._call.request.include_usage else UNSET
        return Chunk(self.id, self.created, self.answered_by, [*choices], usage=usage)

    async def hand_out(self, write: Callable[[list[ChunkChoice]], bool]) -> bool:
        """Calls `write` with what the stream's next events bring, in the contract's order: those together that are there
        together, so that one write does. Returns False once `write` has, which says that there is no room for more at the
        moment, and True at the end, which `last_chunks` has. Raises what breaks the stream.

        The last finish_reason is held back until the answer is settled, because it tells the caller that all is well.
        """

        def take(choices: list[ChunkChoice]) -> bool:
            ready: list[ChunkChoice] = []
            for choice in choices:
                if choice.finish_reason is None:
                    ready.append(choice)
                    continue
                if self._last is not None:
                    ready.append(self._last)
                self._last = choice
            return not ready or write(ready)

        return await self._ready.give(take, CHUNKS_TOGETHER_MAX)

    def last_chunks(self) -> list[Chunk]:
        """The events after those of `hand_out`: the end, which carries the cost unless a usage chunk was asked for."""
        final = self.chunk(*([self._last] if self._last else []))
        meta = CompletionMeta(self.cost)
        if not self._call.request.include_usage:
            final.meta = meta
            return [final]
        return [final, Chunk(self.id, self.created, self.answered_by, [], usage=self._usage, meta=meta)]

    async def durable(self) -> None:
        """To be called before the last byte leaves. Raises ServiceUnavailable where the charge could not be written."""
        if self._settled is not None:
            await self._settled.durable()

    async def completion(self) -> Completion:
        """The whole answer: a fold of the same chunks that a stream would send."""
        await self._ready.ready()
        if self._usage is None or self._folds is None:
            raise InternalError("The provider reported no usage.")
        choices = [fold.choice(index) for index, fold in enumerate(self._folds)]
        return Completion(self.id, self.created, choices, self.answered_by, self._usage, CompletionMeta(self.cost))


def _ignored(call: Call, journey: Journey) -> list[str]:
    """Names of parameters that have no effect on the answer, whoever gives it."""
    return [*[name for name in call.request.extra if not journey.takes(name)], *journey.ignored]
