"""How fast the ledger is read when it is large: balance, transactions, usage, log, receipts, and `verify-ledger`.

    python -m bench.ledger_scale --entries 10_000_000 --folder /tmp/scale [--postgresql] [--keep]

Fills a database with entries whose hashes are right: one account with 95 % of them and ten small ones, 24 keys and 8 models of
very different use, spread evenly over 120 days. Then asks the HTTP endpoints in this process, with a management key and with
the key that is used least, and prints milliseconds: median and worst of 10. Last it verifies the whole ledger. `--keep` leaves
the database there, and a run on a folder that has one only asks.
"""

import argparse
import asyncio
import json
import logging
import platform
import random
import shutil
import sqlite3
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import psycopg
import structlog
from tests.asgi import call
from tests.desks import recorded
from tests.installation import app_of, installed
from tests.postgres import binaries, running_postgres

from tollway import clock
from tollway.api.query import cursor_text
from tollway.api.services import Services
from tollway.ids import random_text
from tollway.ledger import Entry
from tollway.ledger.books import FIRST_HASH, chained_hash
from tollway.ledger.verify import verify
from tollway.settings import DatabaseUrl
from tollway.storage.tables import ALL_KEYS, USAGE_SPANS, balances, ledger_entries, requests, usage_buckets
from tollway.usage import RequestRecord

DAYS = 120
KEYS, MODELS = 24, 8
SMALL_ACCOUNTS = 10
SMALL_SHARE = 0.05
ROUNDS = 10
_CHUNK = 50_000
_GRANT_EVERY = 5000
_GRANT = 2_000_000 * 1000


class Account:
    """One account's entries, in order, with their hashes."""

    def __init__(self, account_id: str, key_ids: Sequence[str], count: int, chance: random.Random) -> None:
        self.id = account_id
        self.posted = self.number = 0
        self.head = FIRST_HASH
        self.buckets: dict[tuple[str, str, int, int, str], list[int]] = {}
        self._keys = key_ids
        self._count = count
        self._chance = chance
        self._key_weights = list(accumulate(1 / (n + 1) ** 1.5 for n in range(len(key_ids))))
        self._models = [f"vendor/model-{n}" for n in range(MODELS)]
        self._model_weights = list(accumulate(1 / (n + 1) ** 1.5 for n in range(MODELS)))

    def rows(self, end: float) -> Iterator[tuple[list[tuple[Any, ...]], tuple[Any, ...] | None]]:
        """Entries and the request that they are of; one request after the other."""
        step = DAYS * 86_400 / max(1, self._count // 2)
        now = end - DAYS * 86_400
        for number in range(self._count // 2):
            if number % _GRANT_EVERY == 0:
                yield [self._enter("grant", "grant_" + random_text(21), now, posted=_GRANT, reference="payment")], None
            now += step
            yield self._request(now)

    def _request(self, now: float) -> tuple[list[tuple[Any, ...]], tuple[Any, ...]]:
        chance, request_id, inference_id = self._chance, random_text(21), random_text(21)
        (key_id,) = chance.choices(self._keys, cum_weights=self._key_weights)
        (model,) = chance.choices(self._models, cum_weights=self._model_weights)
        held, failed = chance.randrange(1000, 50_000), chance.random() < 0.02
        cost = 0 if failed else chance.randrange(1, held)
        about: dict[str, Any] = {"key_id": key_id, "model": model, "price_version": "9e107d9d372bb682"}
        entries = [
            self._enter("hold", request_id, now, held=held, **about),
            self._enter("release" if failed else "settle", request_id, now + 2, -cost, -held, reference=inference_id, **about),
        ]
        prompt, completion = chance.randrange(10, 5000), chance.randrange(1, 2000)
        amounts = (1, int(cost > 0), int(not failed), int(failed), prompt, completion, cost, 0)
        for key in (key_id, ALL_KEYS):
            for span in USAGE_SPANS:
                sums = self.buckets.setdefault((self.id, key, span, int(now) // span * span, model), [0] * 8)
                for index, amount in enumerate(amounts):
                    sums[index] += amount
        record = _plain_record(
            self.id,
            key_id,
            request_id=request_id,
            inference_id=inference_id,
            client_request_id=f"order-{self.number}" if chance.random() < 0.1 else None,
            model=model,
            status="failed" if failed else "succeeded",
            prompt_tokens=prompt,
            completion_tokens=completion,
            held=held,
            credits=cost,
            created_at=now,
            first_token_ms=None if failed else round(chance.lognormvariate(5.3, 0.5)),
            duration_ms=50 if failed else 300 + 12 * completion,
        )
        return entries, record

    def _enter(self, kind: Any, request_id: str, at: float, posted: int = 0, held: int = 0, **about: Any) -> tuple[Any, ...]:
        self.number += 1
        self.posted += posted
        fields = (about.get("key_id"), about.get("model"), about.get("reference"), about.get("price_version"), None)
        entry = msgspec.structs.astuple(Entry(self.id, self.number, kind, request_id, posted, held, 0, at, *fields))
        self.head = chained_hash(self.head, entry)
        return (*entry, self.head)


_PLAIN = recorded("", "")


def _plain_record(account_id: str, key_id: str, **details: Any) -> tuple[Any, ...]:
    changed = {"account_id": account_id, "key_id": key_id} | details
    return tuple(changed.get(name, getattr(_PLAIN, name)) for name in RequestRecord.__struct_fields__)


class Writer:
    """Rows by the ten thousands, past everything that makes single ones safe."""

    def __init__(self, place: Path | DatabaseUrl) -> None:
        self._sqlite = self._postgresql = None
        if isinstance(place, Path):
            self._sqlite = sqlite3.connect(place, isolation_level=None)
            for pragma in ("synchronous = OFF", "cache_size = -2000000"):
                self._sqlite.execute(f"PRAGMA {pragma}")
        else:
            self._postgresql = psycopg.connect(place.reveal(), autocommit=True)

    def write(self, table: str, columns: Iterable[str], rows: Sequence[tuple[Any, ...]]) -> None:
        names = ", ".join(columns)
        if self._sqlite is not None:
            marks = ", ".join("?" * len(rows[0]))
            self._sqlite.execute("BEGIN")
            self._sqlite.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
            self._sqlite.execute("COMMIT")
        elif self._postgresql is not None:
            with self._postgresql.cursor().copy(f"COPY {table} ({names}) FROM STDIN".encode()) as copy:
                for row in rows:
                    copy.write_row(row)

    def close(self) -> None:
        if self._sqlite is not None:
            self._sqlite.execute("ANALYZE")
            self._sqlite.close()
        elif self._postgresql is not None:
            self._postgresql.execute("VACUUM ANALYZE")
            self._postgresql.close()


async def fill(services: Services, count: int) -> None:
    """`count` entries, a balance for each account, the log and its sums."""
    began, chance = time.monotonic(), random.Random(1)
    shares = [count * (1 - SMALL_SHARE)] + [count * SMALL_SHARE / SMALL_ACCOUNTS] * SMALL_ACCOUNTS
    accounts = []
    for number, share in enumerate(shares):
        made = await services.accounts.create_account("large" if number == 0 else f"small {number}")
        keys = [(await services.accounts.create_key(made.id, f"key {n}")).record.id for n in range(KEYS)]
        accounts.append(Account(made.id, keys, int(share), chance))
    writer = Writer(services.settings.database)
    entry_columns, record_columns = (*Entry.__struct_fields__, "hash"), RequestRecord.__struct_fields__
    entries: list[tuple[Any, ...]] = []
    records: list[tuple[Any, ...]] = []
    for account in accounts:
        for more, record in account.rows(clock.now()):
            entries += more
            if record is not None:
                records.append(record)
            if len(entries) >= _CHUNK:
                writer.write(ledger_entries.name, entry_columns, entries)
                writer.write(requests.name, record_columns, records)
                entries, records = [], []
    writer.write(ledger_entries.name, entry_columns, entries)
    writer.write(requests.name, record_columns, records)
    for account in accounts:
        rows = [(*place, *sums) for place, sums in sorted(account.buckets.items())]
        writer.write(usage_buckets.name, usage_buckets.c.keys(), rows)
        balance = (account.id, account.posted, 0, account.number, account.head)
        writer.write(balances.name, balances.c.keys(), [balance])
    writer.close()
    print(f"filled in {time.monotonic() - began:.0f} s: {sum(account.number for account in accounts):,} entries")


async def measure(services: Services) -> dict[str, tuple[float, float]]:
    """Milliseconds, median and worst, by what was asked."""
    account = await services.accounts.find_account("large")
    boss = (await services.accounts.create_key(account.id, f"boss {random_text(6)}", kind="management")).secret
    rare = await services.accounts.find_key(await _rarest(services, account.id))
    rare_secret = (await services.accounts.rotate_key(rare.id, overlap_seconds=0)).secret
    rare_prefix = (await services.accounts.find_key(rare.id)).prefix
    app, now, chance = app_of(services), clock.now(), random.Random(2)
    results: dict[str, tuple[float, float]] = {}

    async def ask(name: str, path: str, key: str = boss, **query: Any) -> Any:
        times, reply = [], None
        target = f"{path}?{urlencode(query, doseq=True)}" if query else path
        for _ in range(ROUNDS):
            began = time.perf_counter()
            reply = await call(app, "GET", target, headers={"Authorization": f"Bearer {key}"})
            times.append((time.perf_counter() - began) * 1000)
            assert reply.status == 200, reply.body
        results[name] = statistics.median(times), max(times)
        print(f"{name:48} {results[name][0]:8.1f} {results[name][1]:8.1f}")
        assert reply is not None
        return reply.json

    middle = cursor_text(now - DAYS * 43_200, 1)
    day = {"from": clock.iso(now - 60 * 86_400), "to": clock.iso(now - 59 * 86_400)}
    await ask("balance", "/v1/billing/balance")
    await ask("transactions", "/v2/billing/transactions", limit=100)
    await ask("transactions, deep cursor", "/v2/billing/transactions", limit=100, cursor=middle)
    await ask("transactions, TOPUP", "/v2/billing/transactions", limit=100, direction="TOPUP")
    await ask("transactions, BONUS (none)", "/v2/billing/transactions", limit=100, type="BONUS")
    await ask("transactions, one day", "/v2/billing/transactions", limit=100, **day)
    await ask("transactions, rare key", "/v2/billing/transactions", rare_secret, limit=100)
    await ask("usage, 92 days", "/v2/usage", period="92d")
    zone = {"period": "92d", "tz": "Asia/Kathmandu"}
    await ask("usage by day and model, 92 days", "/v2/usage/detail", group_by="day,model", **zone)
    await ask("usage by day, 92 days", "/v2/usage/detail", group_by="day", **zone)
    await ask("usage by day and model, rare key, 92 days", "/v2/usage/detail", rare_secret, group_by="day,model", **zone)
    await ask(
        "usage by day and model, one key, 92 days", "/v2/usage/detail", key_prefix=rare_prefix, group_by="day,model", **zone
    )
    page = await ask("log", "/v2/logs", limit=100)
    await ask("log, deep cursor", "/v2/logs", limit=100, cursor=middle)
    await ask("log, offset 10,000", "/v2/logs", limit=100, offset=10_000)
    await ask("log, rare key", "/v2/logs", rare_secret, limit=100)
    await ask("log, rare model", "/v2/logs", limit=100, model=f"vendor/model-{MODELS - 1}")
    await ask("log, rare model of a rare key", "/v2/logs", rare_secret, limit=100, model=f"vendor/model-{MODELS - 1}")
    await ask("log, all but one model", "/v2/logs", limit=100, model=[f"vendor/model-{n}" for n in range(1, MODELS)])
    await ask("log, unknown model", "/v2/logs", limit=100, model="vendor/none")
    await ask("log, failed, 7 days", "/v2/logs", limit=100, status="failed", period="7d")
    await ask("log, by client request id", "/v2/logs", request_id=_some_client_id(page, chance))
    one = chance.choice(page["data"])
    await ask("receipt, by request id", f"/v2/logs/{one['request_id']}")
    await ask("receipt, by inference id", f"/v2/logs/{one['inference_id']}")
    await ask("keys with their month", "/v1/keys")
    return results


async def _rarest(services: Services, account_id: str) -> str:
    """The id of the key that is used least."""
    keys = await services.accounts.list_keys(account_id, kind="api")
    return keys[-1].id


def _some_client_id(page: Any, chance: random.Random) -> str:
    ids = [row["client_request_id"] for row in page["data"] if row["client_request_id"]]
    return chance.choice(ids) if ids else "order-0"


async def verified(services: Services) -> float:
    """Entries per second."""
    began = time.monotonic()
    totals = await services.database.read(verify)
    rate = totals.entries / (time.monotonic() - began)
    print(f"verified {totals.entries:,} entries: {rate:,.0f} entries/s")
    return rate


@contextmanager
def place(postgresql: bool) -> Iterator[DatabaseUrl | None]:
    """The URL of a PostgreSQL database of our own; None = the SQLite file in the folder."""
    if not postgresql:
        yield None
        return
    found = binaries()
    assert found, "PostgreSQL is not installed"
    with running_postgres(found) as server:
        yield server.new_database()


async def run(folder: Path, url: DatabaseUrl | None, count: int) -> None:
    async with installed(folder, database_url=url) as services:
        if not await services.accounts.list_accounts():
            await fill(services, count)
        results = await measure(services)
        rate = await verified(services)
    what = "PostgreSQL" if url else "SQLite"
    slowest = max(results, key=lambda name: results[name][0])
    print(json.dumps({"database": what, "entries": count, "machine": platform.processor(), "verify_per_s": round(rate)}))
    print(f"slowest: {slowest}, {results[slowest][0]:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--postgresql", action="store_true", help="a server of its own, gone afterwards")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    passing = not options.keep and not options.folder.exists()  # a folder that was there may hold more than ours
    options.folder.mkdir(parents=True, exist_ok=True)
    with place(options.postgresql) as url:
        asyncio.run(run(options.folder, url, options.entries))
    if passing:
        shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
