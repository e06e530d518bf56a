"""How fast each page is, and how heavy, when a million requests are in the log.

    python -m bench.pages --requests 1_000_000 --folder /tmp/pages [--postgresql] [--keep] [--markdown]

Fills a database as `bench.ledger_scale` does, with an owner who is signed in and whose account has 95 % of the requests.
Asks for each page in this process, as a browser would, and prints milliseconds at the server: of the processor (median), which
a busy machine hardly changes, and by the clock (median and worst of ROUNDS); then the kilobytes of the page with its style
sheet and scripts, uncompressed. Ends with 1 when a page takes more of the processor than MILLISECONDS_MAX, or is heavier than
BYTES_MAX. `--markdown` prints the table of docs/page-speed.md.
"""

import argparse
import asyncio
import logging
import re
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
from bench.ledger_scale import DAYS, MODELS, fill, place
from msgspec import Struct
from starlette.types import ASGIApp
from tests.installation import installed, site_of
from tests.visitor import PASSWORD, Visitor, owner_of

from tollway import clock
from tollway.api.query import cursor_text
from tollway.api.services import Services
from tollway.settings import DatabaseUrl
from tollway.usage import LogFilter, Scope
from tollway.usage.latency import LatencyCounter

MILLISECONDS_MAX = 50.0
BYTES_MAX = 150_000
ROUNDS = 9
_RARE_MODEL = f"vendor/model-{MODELS - 1}"


class Measured(Struct):
    """One page."""

    name: str
    path: str
    cpu_ms: float
    median_ms: float
    worst_ms: float
    bytes: int

    @property
    def is_good(self) -> bool:
        return self.cpu_ms <= MILLISECONDS_MAX and self.bytes <= BYTES_MAX


async def paths(services: Services, account_id: str) -> AsyncIterator[tuple[str, str]]:
    """What is measured: a name, and where."""
    usage, now = services.usage, clock.now()
    keys = [key.id for key in await services.accounts.list_keys(account_id, kind="api")]
    (newest,) = await usage.log(Scope(account_id), limit=1)
    (failed,) = await usage.log(Scope(account_id), LogFilter(statuses=["failed"]), limit=1)
    (user,) = await services.people.list_users()
    deep = cursor_text(now - DAYS * 43_200, 1)
    day = f"from={clock.iso(now - 60 * 86_400)[:10]}&to={clock.iso(now - 59 * 86_400)[:10]}"
    log, billing = "/usage/requests", "/usage/billing"
    yield "Start", "/"
    yield "Models", "/catalog"
    yield "One model", f"/catalog/{services.catalog.models[0].id}"
    yield "Documentation", "/docs"
    yield "A document", "/docs/quickstart"
    yield "The longest document", "/docs/api/create-chat-completion"
    yield "Search", "/search?q=stream"
    yield "Keys", "/keys"
    yield "One key", f"/keys/{keys[0]}"
    yield "Playground", "/playground"
    yield "Your account", "/account"
    yield "People", "/people"
    yield "One person", f"/people/{user.id}"
    for name in ("24h", "7d", "30d", "90d"):
        yield f"Usage, {name}", f"/usage?range={name}"
    yield "Usage, 90d, one key", f"/usage?range=90d&key={keys[0]}"
    yield "Usage, 90d, latency of one model", "/usage?range=90d&model=vendor/model-0"
    yield "Billing", billing
    yield "Billing, half way down", f"{billing}?cursor={deep}"
    yield "Billing, payments", f"{billing}?type=PAYMENT"
    yield "Billing, a type that never was", f"{billing}?type=BONUS"
    yield "Billing, one day", f"{billing}?{day}"
    yield "Requests", log
    yield "Requests, half way down", f"{log}?cursor={deep}"
    for status in ("succeeded", "failed", "cancelled"):
        yield f"Requests, {status}", f"{log}?status={status}"
    yield "Requests, failed, half way down", f"{log}?status=failed&cursor={deep}"
    yield "Requests, one day", f"{log}?{day}"
    yield "Requests, a rare model", f"{log}?model={_RARE_MODEL}"
    yield "Requests, a rare key", f"{log}?key={keys[-1]}"
    yield "Requests, a rare model of a rare key", f"{log}?model={_RARE_MODEL}&key={keys[-1]}"
    yield "Requests, a rare model, failed", f"{log}?model={_RARE_MODEL}&status=failed"
    yield "Requests, a rare model, cancelled", f"{log}?model={_RARE_MODEL}&status=cancelled"
    yield "Requests, a rare key, failed", f"{log}?key={keys[-1]}&status=failed"
    yield "Requests, all filters, nothing found", f"{log}?key={keys[-1]}&model={_RARE_MODEL}&status=cancelled&{day}"
    yield "New requests", f"{log}/new?after={newest.id - 20}"
    yield "Receipt", f"{log}/{newest.request_id}"
    yield "Receipt of a failure, by its inference id", f"{log}/{failed.inference_id}"
    yield "Operator", "/operator"
    yield "Book credits", "/operator/book"


async def measured(visitor: Visitor, name: str, path: str) -> Measured:
    times, cpu = [], []
    for _ in range(ROUNDS + 1):
        began, used = time.perf_counter(), time.process_time()
        reply = await visitor._call("GET", path)
        times.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - used))
        assert reply.status == 200, (path, reply.status)
    size = len(reply.body)
    for file in set(re.findall(rb'(?:src|href)="(/static/[^"]*)"', reply.body)):
        size += len((await visitor._call("GET", file.decode())).body)
    # the first one compiles the template
    return Measured(name, path, statistics.median(cpu[1:]), statistics.median(times[1:]), max(times[1:]), size)


async def signed_in(services: Services, app: ASGIApp) -> Visitor:
    token = await services.people.first_owner_link()
    if token is not None:
        return await owner_of(app, token)
    (owner,) = await services.people.list_users()
    link = await services.people.reset_link(owner.email)
    visitor = Visitor(app)
    await visitor.get(f"/welcome/{link}")
    await visitor.post(f"/welcome/{link}", {"password": PASSWORD, "again": PASSWORD})
    return visitor


async def counted(services: Services) -> None:
    """The log, for the percentiles of latency; in the service it happens little by little."""
    began, counter = time.monotonic(), LatencyCounter(services.database)
    await counter.count()
    while await counter.count():
        pass
    print(f"latency counted in {time.monotonic() - began:.1f} s", file=sys.stderr)


async def run(folder: Path, url: DatabaseUrl | None, count: int) -> list[Measured]:
    async with installed(folder, database_url=url) as services:
        if not await services.accounts.list_accounts():
            await fill(services, 2 * count)
        await counted(services)
        app = site_of(services)
        visitor = await signed_in(services, app)
        large = await services.accounts.find_account("large")
        return [await measured(visitor, name, path) async for name, path in paths(services, large.id)]


def table(pages: list[Measured], *, markdown: bool) -> str:
    if not markdown:
        lines = [
            f"{page.name:46} {page.cpu_ms:7.1f} {page.median_ms:7.1f} {page.worst_ms:7.1f} ms {page.bytes / 1000:7.1f} kB"
            for page in pages
        ]
        return "\n".join(f"{line}{'' if page.is_good else '  <-- too much'}" for line, page in zip(lines, pages, strict=True))
    rows = [f"| {page.name} | {page.cpu_ms:.1f} | {page.bytes / 1000:.0f} |" for page in pages]
    return "\n".join(["| Page | ms | kB |", "|---|---|---|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--postgresql", action="store_true", help="a server of its own, gone afterwards")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    passing = not options.keep and not options.folder.exists()  # a folder that was there may hold more than ours
    options.folder.mkdir(parents=True, exist_ok=True)
    with place(options.postgresql) as url:
        pages = asyncio.run(run(options.folder, url, options.requests))
    if passing:
        shutil.rmtree(options.folder)
    print(table(pages, markdown=options.markdown))
    sys.exit(not all(page.is_good for page in pages))


if __name__ == "__main__":
    main()
