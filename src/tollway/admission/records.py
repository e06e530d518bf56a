"""What admission is asked, and what it answers."""

import asyncio

from msgspec import Struct

from tollway.accounts import Caller
from tollway.errors import TollwayError
from tollway.ledger import Hold
from tollway.usage import RequestRecord


class Idempotency(Struct):
    """A caller's name for a request, and what the request is."""

    key: str
    body_hash: bytes
    """SHA-256."""


class Order(Struct):
    """A request that wants to be answered."""

    request_id: str
    caller: Caller
    model: str
    price_version: str
    credits: int
    """The most that it can cost."""
    credits_min: int
    """The least that must be set aside for it to make sense; less than `credits` when the answer may be cut to the money."""
    tokens: int
    """What counts against tokens per minute until the real figure is known."""
    idempotency: Idempotency | None = None


class Admitted(Struct):
    """The request may be answered: the credits are set aside."""

    order: Order
    hold: Hold
    headers: dict[str, str]
    """`x-ratelimit-*`: what the caller's limits still allow."""


class Replay(Struct):
    """The request was answered before, under the same Idempotency-Key."""

    answer: bytes
    """As `Outcome.answer` was."""


class Outcome(Struct):
    """How an admitted request ended."""

    admitted: Admitted
    record: RequestRecord | None = None
    """`credits` is what it costs; what the hold does not cover becomes `loss` when it is written. None = it never began."""
    tokens: int = 0
    """What really counts against tokens per minute."""
    answer: bytes | None = None
    """What to replay under the Idempotency-Key."""


class Settled(Struct):
    """What was written. Nobody is told of it before the disk has it."""

    credits: int
    """What was charged."""
    available: int
    """The account's available credits afterwards."""
    posted: int
    """Its posted ones: those that are held are among them."""
    syncing: "asyncio.Future[TollwayError | None] | None" = None
    """Done once the disk has it, or once it is given up, which is why. None = the disk has it."""

    async def durable(self) -> None:
        """Returns once the disk has it. Raises ServiceUnavailable when it cannot; then nothing was charged."""
        if self.syncing is not None and (failure := await self.syncing) is not None:
            raise failure
