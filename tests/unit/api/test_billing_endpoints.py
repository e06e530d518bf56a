"""The billing, usage and log endpoints, in the platform's shapes."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jsonschema
import pytest
from starlette.types import ASGIApp
from tests.asgi import Reply, call
from tests.desks import Bench, record, recorded
from tests.installation import app_of, installed

from tollway import clock
from tollway.accounts import Account, AccountChanges
from tollway.admission import Desk
from tollway.api import openapi
from tollway.api.endpoints import ENDPOINTS
from tollway.api.query import cursor_text
from tollway.api.services import Services
from tollway.api.table import Auth, Tag
from tollway.usage import PriceList

pytestmark = pytest.mark.usefixtures("both_databases")

DOCUMENT = openapi.document(ENDPOINTS)
PATHS = [row.paths[0] for row in ENDPOINTS if row.tag is Tag.BILLING and row.auth is Auth.KEY]
USAGE_PATHS = ("/v2/usage", "/v2/usage/detail")


@dataclass
class Api:
    """The HTTP side, an account with a grant, two API keys and a management key of it, and a stranger."""

    services: Services
    app: ASGIApp
    account: Account
    keys: dict[str, str]
    bench: Bench

    async def get(self, path: str, key: str = "one", **query: Any) -> Reply:
        target = f"{path}?{urlencode(query, doseq=True)}" if query else path
        return await call(self.app, "GET", target, headers={"Authorization": f"Bearer {self.keys[key]}"})

    async def good(self, path: str, key: str = "one", **query: Any) -> Any:
        """The body; it must be as the document says, and is for nobody else."""
        reply = await self.get(path, key, **query)
        assert reply.status == 200, reply.body
        assert reply.header("cache-control") == "no-store"
        template = "/v2/logs/{request_id}" if path.startswith("/v2/logs/") else path
        content = DOCUMENT["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]
        jsonschema.validate(reply.json, content["schema"] | {"components": DOCUMENT["components"]})
        return reply.json

    async def spent(self, amount: int, key: str = "one", **details: Any) -> str:
        """A request that was held and settled; its id."""
        self.bench.caller = await self.services.accounts.authenticate(f"Bearer {self.keys[key]}")
        admitted = await self.bench.admit(max(amount, 100))
        await self.bench.settle(admitted, amount, **details)
        return admitted.hold.request_id


@asynccontextmanager
async def api(home: Path) -> AsyncIterator[Api]:
    async with installed(home) as services:
        accounts = services.accounts
        account, stranger = await accounts.create_account("acme"), await accounts.create_account("stranger")
        keys = {name: (await accounts.create_key(account.id, name)).secret for name in ("one", "two")}
        keys["boss"] = (await accounts.create_key(account.id, "boss", kind="management")).secret
        keys["stranger"] = (await accounts.create_key(stranger.id, "boss", kind="management")).secret
        await services.ledger.grant(account.id, 1_000_000, reason="init")
        caller = await accounts.authenticate(f"Bearer {keys['one']}")
        bench = Bench(services.database, Desk(services.database, "node_test"), caller)
        yield Api(services, app_of(services), account, keys, bench)


async def test_the_balance(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.bench.admit(400_000)
        body = await it.good("/v1/billing/balance")
        assert body.pop("lastUpdated")[:10] == clock.iso(clock.now())[:10]
        assert body == {
            "balance": 1_000_000,
            "lowBalance": False,
            "lowBalanceThreshold": 10_000,
            "autoDebitStatus": "disabled",
            "status": "current",
            "statusExplanation": "Balance is current and up to date",
            "held": 400_000,
            "available": 600_000,
        }
        assert await it.good("/v2/billing") == {"current_balance": 0.5, "currency": "USD"}
        assert await it.good("/v2/billing/detail", "two") == {
            "user_id": it.account.id,
            "email": None,
            "current_balance": 0.5,
            "currency": "USD",
            "autotopup_settings": {"is_enabled": False, "threshold": 0, "amount": 0, "currency": "USD"},
            "name": "acme",
        }


@pytest.mark.parametrize(("threshold", "low"), [(1_000_000, False), (1_000_001, True)])
async def test_a_balance_below_the_threshold_is_low(tmp_path: Path, threshold: int, low: bool) -> None:
    async with api(tmp_path) as it:
        await it.services.accounts.update_account("acme", AccountChanges(low_balance_credits=threshold))
        body = await it.good("/v1/billing/balance")
        assert (body["lowBalance"], body["status"]) == (low, "low" if low else "current")
        await it.bench.admit(1_000_000)
        assert (await it.good("/v1/billing/balance"))["status"] == "exhausted"
        assert (await it.good("/v1/billing/balance", "stranger"))["balance"] == 0


async def test_transactions_of_a_key_and_of_the_account(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        ids = [await it.spent(amount, key) for amount, key in ((10, "one"), (20, "two"), (30, "one"))]
        await it.spent(0)  # costs nothing, moves nothing
        await it.services.ledger.refund(ids[0], note="sorry")
        await it.services.ledger.adjust(it.account.id, -5, note="rounding")
        body = await it.good("/v2/billing/transactions", "boss")
        moves = [(each["type"], each["direction"], each["amount"]["credits"]) for each in body["data"]]
        assert moves == [
            ("ADJUSTMENT", "CHARGE", 5),
            ("REFUND", "TOPUP", 10),
            ("MODEL_USAGE", "CHARGE", 30),
            ("MODEL_USAGE", "CHARGE", 20),
            ("MODEL_USAGE", "CHARGE", 10),
            ("INIT", "TOPUP", 1_000_000),
        ]
        assert body["pagination"] == {"next_cursor": None, "has_more": False}
        assert body["data"][1]["reference_id"] == "inf" + ids[0]
        assert body["data"][1]["amount"]["usd"] == 0.000005
        assert (body["data"][5]["reference_id"], body["data"][5]["model"]) == (None, None)
        own = (await it.good("/v2/billing/transactions"))["data"]
        assert [each["request_id"] for each in own] == [ids[0], ids[2], ids[0]]
        assert (await it.good("/v2/billing/transactions", "stranger"))["data"] == []

        async def amounts(**query: Any) -> list[int]:
            return [each["amount"]["credits"] for each in (await it.good("/v2/billing/transactions", "boss", **query))["data"]]

        assert await amounts(direction="TOPUP") == [10, 1_000_000]
        assert await amounts(direction="CHARGE", limit=2) == [5, 30]
        assert await amounts(type="MODEL_USAGE") == [30, 20, 10]
        assert await amounts(type="INIT", direction="TOPUP") == [1_000_000]
        assert await amounts(type="INIT", direction="CHARGE") == await amounts(type="CREDITS_EXPIRED") == []
        when = clock.iso(clock.now() + 60)
        assert await amounts(**{"from": when}) == []
        assert len(await amounts(to=when)) == 6


async def test_pages_of_transactions_have_each_once(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        for amount in range(1, 8):
            await it.spent(amount)
        seen, query = [], {"limit": "3"}
        while True:
            body = await it.good("/v2/billing/transactions", **query)
            seen += [each["amount"]["credits"] for each in body["data"]]
            await it.spent(99)  # what comes meanwhile is newer than every page
            if not body["pagination"]["has_more"]:
                break
            query["cursor"] = body["pagination"]["next_cursor"]
        assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_usage_of_a_key_and_of_the_account(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        one, two = [await it.services.accounts.authenticate(f"Bearer {it.keys[name]}") for name in ("one", "two")]
        now, account_id = clock.now(), it.account.id
        await record(
            it.services.database,
            recorded(account_id, one.key_id, model="m", credits=2_480, created_at=now - 60),
            recorded(account_id, one.key_id, model="n", credits=2_480_000, created_at=now - 60),
            recorded(account_id, one.key_id, model="n", credits=0, status="failed", created_at=now - 60),
            recorded(account_id, two.key_id, model="m", credits=1, created_at=now - 60),
            recorded(account_id, two.key_id, model="m", credits=500, created_at=now - 25 * 3600),
        )
        body = await it.good("/v2/usage")
        start, end = (dt.datetime.fromisoformat(body.pop(name)).timestamp() for name in ("start", "end"))
        assert abs(end - start - 86_400) < 0.01
        assert body == {"api_key_prefix": None, "spend": 1.24124, "currency": "USD", "requests": 2}
        assert (await it.good("/v2/usage", "boss"))["requests"] == 3
        assert (await it.good("/v2/usage", "boss", period="26h"))["requests"] == 4
        named = await it.good("/v2/usage", "boss", period="2d", key_prefix=two.key_prefix)
        assert (named["api_key_prefix"], named["requests"], named["spend"]) == (two.key_prefix, 2, 0.0002505)
        assert (await it.good("/v2/usage", "stranger", period="92d"))["requests"] == 0

        detail = await it.good("/v2/usage/detail", "boss", group_by="model")
        assert detail["models"] == [
            {"model": "n", "spend": 1.24, "requests": 1},
            {"model": "m", "spend": 0.0012405, "requests": 2},
        ]
        assert detail["groups"][1] == {
            "day": None,
            "model": "n",
            "spend": 1.24,
            "tokens": {"input": 20, "output": 10, "total": 30},
            "requests": {"total": 2, "charged": 1, "succeeded": 1, "failed": 1},
        }
        by_day = await it.good("/v2/usage/detail", "boss", group_by="day", period="3d", tz="Asia/Kathmandu")
        assert sum(group["requests"]["total"] for group in by_day["groups"]) == 5
        assert {group["model"] for group in by_day["groups"]} == {None}
        both = await it.good("/v2/usage/detail", group_by="day,model", start="2026-01-01", end="2026-01-01T00:00:00Z")
        assert (both["groups"], both["models"], both["spend"], both["start"]) == ([], [], 0, "2026-01-01T00:00:00.000Z")
        assert "groups" not in await it.good("/v2/usage/detail")


@pytest.mark.parametrize("group_by", ["day", "model", "day,model"])
async def test_the_groups_add_up_to_the_whole_while_requests_come_in(
    tmp_path: Path, group_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api(tmp_path) as it:
        really = it.services.usage.sums

        async def sums(*asked: Any) -> Any:
            found = await really(*asked)
            await it.spent(20, created_at=clock.now() - 60)  # by the next look there is more
            return found

        monkeypatch.setattr(it.services.usage, "sums", sums)
        await it.spent(10, created_at=clock.now() - 60, model="n")
        await it.spent(20, created_at=clock.now() - 60)
        detail = await it.good("/v2/usage/detail", group_by=group_by)
        assert detail["spend"] == 0.000015
        for parts in (detail["groups"], detail["models"]):
            assert sum(round(part["spend"] * 2_000_000) for part in parts) == 30


async def test_another_keys_usage_takes_a_management_key(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        prefix = {name: secret[:12] for name, secret in it.keys.items()}
        for path in (*USAGE_PATHS, "/v2/logs"):
            assert (await it.get(path, key_prefix=prefix["one"])).status == 200
            assert (await it.get(path, "boss", key_prefix=prefix["two"])).status == 200
            for unknown in (prefix["stranger"], "tw_AAAAAAAAA", "x", "", "'", "\x00"):
                assert (await it.get(path, "boss", key_prefix=unknown)).status == 404
                reply = await it.get(path, key_prefix=unknown)
                assert (reply.status, reply.json["error"]["data"]["kind"]) == (403, "err_management_key_required")
            assert (await it.get(path, key_prefix=prefix["two"])).status == 403


async def test_a_rotated_key_names_itself_by_both_prefixes(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        new = await it.services.accounts.rotate_key(it.keys["one"][:12])
        for prefix in (it.keys["one"][:12], new.record.prefix):
            assert (await it.get("/v2/usage", key_prefix=prefix)).status == 200


async def test_the_log_and_its_pages(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        one, two = [await it.services.accounts.authenticate(f"Bearer {it.keys[name]}") for name in ("one", "two")]
        now = clock.now()
        mine = [
            recorded(it.account.id, one.key_id, model="m" if n % 2 else "n", created_at=now - n, credits=n) for n in range(10)
        ]
        failed = recorded(
            it.account.id, two.key_id, status="failed", credits=0, error_code="upstream_error", client_request_id="order-7"
        )
        await record(it.services.database, *mine, failed)
        first = await it.good("/v2/logs", limit=4)
        assert [row["cost"]["credits"] for row in first["data"]] == [0, 1, 2, 3]
        page = first["pagination"]
        assert (page["limit"], page["offset"], page["total"], page["has_more"]) == (4, 0, 10, True)
        by_offset = await it.good("/v2/logs", limit=4, offset=4)
        by_cursor = await it.good("/v2/logs", limit=4, cursor=page["next_cursor"])
        assert by_offset["data"] == by_cursor["data"]
        last = await it.good("/v2/logs", limit=4, offset=8)
        assert (len(last["data"]), last["pagination"]["has_more"], last["pagination"]["next_cursor"]) == (2, False, None)

        assert (await it.good("/v2/logs", "boss"))["pagination"]["total"] == 11
        only = await it.good("/v2/logs", "boss", status=["failed", "cancelled"], period="1h")
        (row,) = only["data"]
        assert only["pagination"]["total"] == 1
        assert (row["status"], row["error_code"], row["client_request_id"]) == ("failed", "upstream_error", "order-7")
        assert (await it.good("/v2/logs", model=["m", "x"]))["pagination"]["total"] == 5
        for wrong in ("m,n", "", "m\n", "é"):  # the document says what a model's id is made of
            assert (await it.get("/v2/logs", model=wrong)).status == 400
        assert (await it.good("/v2/logs", "boss", request_id="order-7"))["data"] == [row]
        assert (await it.good("/v2/logs", request_id="order-7"))["data"] == []
        (found,) = (await it.good("/v2/logs", request_id=mine[3].inference_id, model="m", period="1h"))["data"]
        assert found["request_id"] == mine[3].request_id
        assert (await it.good("/v2/logs", request_id=mine[3].inference_id, model="n"))["data"] == []


async def test_a_receipt_explains_a_charge(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        (tariff,) = {each.version: each for each in _tariffs(it.services)}.values()
        await PriceList(it.services.database, lambda: [tariff]).write()
        request_id = await it.spent(40, price_version=tariff.version, first_token_ms=12, duration_ms=345)
        receipts = [(await it.good(f"/v2/logs/{any_id}"))["data"] for any_id in (request_id, "inf" + request_id)]
        assert receipts[0] == receipts[1] == (await it.good(f"/v2/logs/{request_id}", "boss"))["data"]
        receipt = receipts[0]
        assert [(each["kind"], each["posted"], each["held"]) for each in receipt["entries"]] == [
            ("hold", 0, 100),
            ("settle", -40, -100),
        ]
        assert (receipt["request"]["cost"], receipt["request"]["first_token_ms"]) == ({"usd": 0.00002, "credits": 40}, 12)
        assert (receipt["route"], receipt["attempts"], receipt["request"]["duration_ms"]) == ("u/m", 1, 345)
        assert receipt["price"]["version"] == tariff.version
        assert receipt["price"]["terms"]["markup_millionths"] == 1_000_000
        for key in ("two", "stranger"):
            assert (await it.get(f"/v2/logs/{request_id}", key)).status == 404
        await it.services.ledger.refund(request_id, note="sorry")
        last = (await it.good(f"/v2/logs/{request_id}"))["data"]["entries"][-1]
        assert (last["kind"], last["posted"], last["note"]) == ("refund", 40, "sorry")


async def test_a_request_that_is_called_like_another_does_not_take_its_receipts_place(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        first = await it.spent(40)
        for name in (first, "inf" + first):
            await it.spent(7, client_request_id=name)
        for any_id in (first, "inf" + first):
            assert (await it.good(f"/v2/logs/{any_id}"))["data"]["request_id"] == first


async def test_a_receipt_of_a_request_in_work_has_its_hold(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        admitted = await it.bench.admit(7)
        receipt = (await it.good(f"/v2/logs/{admitted.hold.request_id}"))["data"]
        assert (receipt["request"], [each["kind"] for each in receipt["entries"]]) == (None, ["hold"])
        assert (await it.get(f"/v2/logs/{admitted.hold.request_id}", "two")).status == 404


@pytest.mark.parametrize("any_id", ["x", "%00", "a b", "é", "..", "'; DROP TABLE requests;--", "a" * 129, "%ff"])
async def test_there_is_no_receipt_of_nothing(tmp_path: Path, any_id: str) -> None:
    async with api(tmp_path) as it:
        assert (await it.get(f"/v2/logs/{quote(any_id, safe='%')}", "boss")).status == 404


def _tariffs(services: Services) -> Any:
    from tollway.metering import tariff_of

    return [tariff_of(services.catalog.routes[0].price, 1_000_000)]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    *(
        (path, {"period": bad}, "period")
        for path in (*USAGE_PATHS, "/v2/logs")
        for bad in ("", "0h", "93d", "1w", "-1d", "24", "٢٤h")
    ),
    *((path, {"period": "1h", "start": "2026-01-01", "end": "2026-01-02"}, "period") for path in USAGE_PATHS),
    *((path, {"start": "2026-01-01"}, "end") for path in USAGE_PATHS),
    *((path, {"end": "2026-01-01"}, "start") for path in USAGE_PATHS),
    *((path, {"start": "2026-01-01", "end": "2026-04-03T00:00:01Z"}, "end") for path in (*USAGE_PATHS, "/v2/logs")),
    *((path, {"start": "2026-01-02", "end": "2026-01-01"}, "end") for path in USAGE_PATHS),
    *(
        ("/v2/usage", {"start": bad, "end": "2026-01-01"}, "start")
        for bad in (
            "",
            "now",
            "2026-13-01",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-23:59",
            "1969-12-31",
            "1e9",
            "\x00",
        )
    ),
    ("/v2/usage", {"tz": "UTC"}, "tz"),
    *(
        ("/v2/usage/detail", {"tz": bad}, "tz")
        for bad in ("", "utc", "europe/berlin", "Europe/Atlantis", "../etc/passwd", "+01:00", "localtime")
    ),
    *(("/v2/usage/detail", {"group_by": bad}, "group_by") for bad in ("", "key", "model,day", "day,", "DAY")),
    *(("/v2/logs", {"limit": bad}, "limit") for bad in ("0", "101", "-1", "1.0", "", "x", "1e1", "٣")),
    *(("/v2/logs", {"offset": bad}, "offset") for bad in ("-1", "10001", "x", "9" * 400)),
    ("/v2/logs", {"model": ["m"] * 51}, "model"),
    *(("/v2/logs", {"model": bad}, "model") for bad in ("", "\x00", "a" * 201, "a\nb")),
    *(("/v2/logs", {"status": bad}, "status") for bad in ("", "ok", "succeeded,failed")),
    *(("/v2/logs", {"request_id": bad}, "request_id") for bad in ("", "a b", "\x00", "a" * 129)),
    ("/v2/logs", {"offset": "1", "cursor": cursor_text(1.0, 1)}, "offset"),
    *(
        (path, {"cursor": bad}, "cursor")
        for path in ("/v2/logs", "/v2/billing/transactions")
        for bad in ("", "x", "====", "é", "AAAA", cursor_text(1.0, 1) + "=", cursor_text(1.0, 1)[:-1], cursor_text(1.0, 0))
    ),
    *(("/v2/logs", {"cursor": cursor_text(bad, 1)}, "cursor") for bad in (float("nan"), float("inf"), -1.0, 1e300)),
    ("/v2/logs", {"cursor": cursor_text(1.0, 2**60)}, "cursor"),
    *(("/v2/billing/transactions", {"direction": bad}, "direction") for bad in ("", "topup", "IN")),
    *(("/v2/billing/transactions", {"type": bad}, "type") for bad in ("", "settle", "GRANT")),
    ("/v2/billing/transactions", {"from": "2026-01-01T00:00:00"}, "from"),
    ("/v2/billing/transactions", {"to": "2026-01-01"}, "to"),
    ("/v2/billing/transactions", {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
    *((path, {"nonsense": "1"}, "nonsense") for path in PATHS if "{" not in path),
    *((path, {"limit": ["1", "2"]}, "limit") for path in ("/v2/logs", "/v2/billing/transactions")),
]


async def test_what_is_malformed_is_a_400_that_names_the_field(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        for key in ("one", "boss"):
            for path, query, param in WRONG:
                reply = await it.get(path, key, **query)
                assert (reply.status, reply.json["error"]["param"]) == (400, param), (path, query, reply.body)


async def test_a_plus_sign_that_became_a_space_is_explained(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        target = "/v2/billing/transactions?from=2026-01-01T00:00:00+02:00"
        reply = await call(it.app, "GET", target, headers={"Authorization": f"Bearer {it.keys['one']}"})
        assert (reply.status, "%2B" in reply.json["message"]) == (400, True)


async def test_no_page_shows_what_is_only_the_operators(tmp_path: Path) -> None:
    """What answers cost the operator beyond what was charged is not the caller's affair."""
    async with api(tmp_path) as it:
        request_id = await it.spent(5, loss=123_456)
        for path in (*(path for path in PATHS if "{" not in path), f"/v2/logs/{request_id}"):
            assert b"loss" not in (await it.get(path, "boss")).body
