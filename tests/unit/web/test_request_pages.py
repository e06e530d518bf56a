"""The request log and receipts as people see them: pages, filters, live rows, any id, and whose they are."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.desks import record, recorded
from tests.two_accounts import NASTY, Site, site, use

from tollway import clock
from tollway.accounts import Caller
from tollway.admission import Admitted, Desk, Order, Outcome
from tollway.catalog import Price
from tollway.metering import tariff_of
from tollway.usage import PriceList
from tollway.web import logs
from tollway.web.logs import PAGE_ROWS

MODEL = "vendor/model"


async def asked(it: Site, account_id: str, amount: int = 192, *, end: bool = True, **details: Any) -> str:
    """A request that went the whole way: held, and settled unless it is still running. Its id."""
    tariff = tariff_of(Price("0.10", "0.40", "0.01", "0.30"), 1_250_000)
    await PriceList(it.services.database, lambda: [tariff]).write()
    desk = Desk(it.services.database, "node_test")
    usual = {"model": MODEL, "prompt_tokens": 338, "cached_tokens": 112, "completion_tokens": 190, "credits": amount}
    row = recorded(account_id, details.pop("key_id", None), **usual | {"price_version": tariff.version, "held": 9000} | details)
    admitted = await desk.admit(
        Order(row.request_id, Caller(account_id, "", row.key_id or "", "", ""), MODEL, tariff.version, 9000, 9000, 0)
    )
    assert isinstance(admitted, Admitted)
    if end:
        await desk.finish(Outcome(admitted, row, 0, None))
    await desk.close()
    return row.request_id


async def test_the_log_page_by_page(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        now = clock.now()
        rows = [recorded(it.members_account, model=MODEL, created_at=now - number) for number in range(PAGE_ROWS + 5)]
        await record(it.services.database, *rows)
        await use(it, it.owners_account, 3)
        await it.member.get("/usage/requests")
        first = it.member.page
        assert first.count("<tr id=") == PAGE_ROWS
        older = re.search(r'rel="next" href="([^"]+)"', first)
        assert older
        await it.member.get(html.unescape(older[1]))
        assert it.member.page.count("<tr id=") == 5
        assert "tail.js" not in it.member.page, "only the newest page grows"
        both = first + it.member.page
        assert all(both.count(f'"/usage/requests/{row.request_id}"') == 1 for row in rows)
        assert 'rel="next"' not in it.member.page


async def test_the_log_says_who_answered_in_place_of_the_model(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await use(it, it.members_account, 1, model=MODEL, answered_by=MODEL)
        await it.member.get("/usage/requests")
        assert "answered by" not in it.member.text
        await use(it, it.members_account, 1, model=MODEL, answered_by="local/small")
        await it.member.get("/usage/requests")
        assert it.member.text.count(f"{MODEL} answered by local/small") == 1
        assert b"answered by <bdi>local/small" in (await it.member.get("/usage/requests/new?after=0")).body


async def test_the_log_is_filtered(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        key = (await it.services.accounts.create_key(it.members_account, "<b>laptop</b>")).record.id
        others_key = (await it.services.accounts.create_key(it.owners_account, "the owner's")).record.id
        await use(it, it.members_account, 1, model=MODEL, key_id=key, error_code="upstream_timeout", status="failed")
        await use(it, it.members_account, 2, model="vendor/other", created_at=clock.now() - 5 * 86_400)
        await use(it, it.owners_account, 4, model=MODEL, key_id=others_key)

        async def count(query: str) -> int:
            assert (await it.member.get(f"/usage/requests?{query}")).status == 200, it.member.text
            return it.member.page.count("<tr id=")

        today = clock.iso(clock.now())[:10]
        assert await count("model=&key=&status=&from=&to=") == 3
        assert "<b>laptop" not in it.member.page
        assert await count(f"key={key}") == 1
        assert "upstream timeout" in it.member.text
        assert await count("model=vendor/other") == 2
        assert await count("status=failed") == 1
        assert await count("status=cancelled") == 0
        assert "Nothing fits these filters" in it.member.text
        assert await count(f"from={today}&to={today}") == 1
        between = clock.iso(clock.now() - 3 * 86_400)[:10]
        assert (await count(f"from={between}"), await count(f"to={between}")) == (1, 2)
        assert await count(f"key={others_key}") == 0
        assert "the owner" not in it.member.page
        for wrong in ("status=lost", "from=x", "cursor=x", "sort=cost", "id=" + "x" * 129, "id=a%20b"):
            assert (await it.member.get(f"/usage/requests?{wrong}")).status == 400, wrong
            assert 'role="alert"' in it.member.page
        await it.member.get(f"/usage/requests?model={MODEL}&key={key}&status=failed&from=2026-02-02&to=2026-02-01")
        assert "The last day is before the first one." in it.member.text
        for typed in (f"<option selected>{MODEL}", f'value="{key}" selected', "<option selected>failed", 'value="2026-02-02"'):
            assert typed in it.member.page, "what was typed stays beside what is wrong with it"
        await it.member.get("/usage/billing?type=PAYMENT&from=2026-02-02&to=2026-02-01")
        assert 'value="2026-02-02"' in it.member.page
        assert 'value="PAYMENT" selected' in it.member.page


async def test_what_is_filtered_by_is_among_the_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_CHOICES_MAX", 1)
    async with site(tmp_path) as it:
        older, newer = [(await it.services.accounts.create_key(it.members_account, name)).record.id for name in ("old", "new")]
        await use(it, it.members_account, 2, model="vendor/often")
        await use(it, it.members_account, 1, model="vendor/once")
        choice = re.compile(r'<option(?: value="(key_[^"]+)")?( selected)?>(vendor/[^<]+|old|new)</option>')
        await it.member.get("/usage/requests")
        assert choice.findall(it.member.page) == [("", "", "vendor/often"), (newer, "", "new")]
        await it.member.get(f"/usage/requests?model=vendor/gone&key={older}")
        assert choice.findall(it.member.page) == [
            ("", " selected", "vendor/gone"),
            ("", "", "vendor/often"),
            (newer, "", "new"),
            (older, " selected", "old"),
        ]


async def test_no_database_is_asked_for_what_it_cannot_look_for(tmp_path: Path, both_databases: str) -> None:
    async with site(tmp_path) as it:
        for path in (
            "/usage",
            "/usage/requests",
            "/usage/requests/new?after=1",
            "/usage/receipt",
            "/operator",
            "/operator/book",
        ):
            for name in ("key", "model", "id", "after", "account"):
                reply = await it.owner.get(f"{path}{'&' if '?' in path else '?'}{name}=%00")
                assert reply.status in (200, 400, 404), (path, name)


async def test_new_rows_come_once_and_only_ones_own(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await use(it, it.members_account, 120, model=MODEL)
        await it.member.get("/usage/requests")
        after = re.search(r'data-after="(\d+)"', it.member.page)
        assert after

        async def fresh(since: str, query: str = "") -> tuple[list[str], str]:
            reply = await it.member.get(f"/usage/requests/new?{query}&after={since}")
            assert reply.status == 200
            assert reply.header("cache-control") == "no-store"
            return re.findall(r'<tr id="(r\d+)"', reply.body.decode()), str(reply.header("x-newest"))

        known = set(re.findall(r'<tr id="(r\d+)"', it.member.page))
        assert not set((await fresh(after[1]))[0]) - known, "the page has them"
        await use(it, it.owners_account, 3, model=MODEL)
        await use(it, it.members_account, 2, model=MODEL)
        await use(it, it.members_account, 1, model="vendor/other", status="failed")
        new, newest = await fresh(after[1])
        assert len(set(new) - known) == 3
        assert set((await fresh(newest))[0]) <= set(new) | known
        assert len(set((await fresh(after[1], "status=failed"))[0]) - known) == 1
        for wrong in ("", "x", "-1", "9" * 40):
            assert (await it.member.get(f"/usage/requests/new?after={wrong}")).status == 400


async def test_a_receipt_says_why_it_was_free(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.services.ledger.grant(it.members_account, 2_000_000)
        for details, why in (
            ({"status": "failed", "loss": 7}, "failed requests"),
            ({"status": "cancelled"}, "answers without content"),
            ({"status": "succeeded", "loss": 7}, "answers without content"),
            ({"status": "succeeded"}, "answers at no price"),
        ):
            request_id = await asked(it, it.members_account, 0, **details)
            await it.member.get(f"/usage/requests/{request_id}")
            assert f"It was free: {why} are not charged." in it.member.text, details


async def test_a_receipt_by_any_of_its_ids(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.services.ledger.grant(it.members_account, 2_000_000)
        key = (await it.services.accounts.create_key(it.members_account, "laptop")).record.id
        request_id = await asked(
            it,
            it.members_account,
            key_id=key,
            inference_id="inf-1",
            client_request_id="order:7",
            attempts=2,
            flags="above_hold,prompt_tokens_unusable",
        )
        for strange in ("new", ".", ".."):
            await asked(it, it.members_account, client_request_id=strange)
            await it.member.get(f"/usage/requests?id={strange}")
            assert "Receipt" in it.member.text
        for any_id in (request_id, "inf-1", "order:7"):
            await it.member.get(f"/usage/requests?id={any_id}")
            assert "Receipt" in it.member.text
            assert request_id in it.member.text
        for words in (
            "Cost $0.000096 192 credits",
            "Held $0.0045",
            "u/m, attempt 2",
            "Charged $0.000096",
            "Prompt 226 tokens at $0.10 a million $0.0000285",
            "Prompt, from the cache 112 tokens at $0.01 a million $0.0000015",
            "Completion 190 tokens at $0.40 a million $0.000095",
            "with the markup of 1.25",
            "The upstream reported prompt tokens that cannot be; they were estimated or cut.",
            "what is above was not charged",
            "laptop",
            "hold",
            "settle",
        ):
            assert words in it.member.text, words
        for any_id in (request_id, "inf-1", "order:7", "nothing", "a b", "x" * 200):
            assert (await it.owner.get(f"/usage/requests/{any_id}")).status == 404, "others' receipts are not there"


async def test_receipts_of_what_runs_failed_or_was_sent_twice(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.services.ledger.grant(it.members_account, 2_000_000)
        running = await asked(it, it.members_account, end=False)
        await it.member.get(f"/usage/requests/{running}")
        assert "in work" in it.member.text
        assert (await it.owner.get(f"/usage/requests/{running}")).status == 404
        failed = await asked(it, it.members_account, 0, status="failed", error_code="upstream_timeout", first_token_ms=None)
        await it.member.get(f"/usage/requests/{failed}")
        assert "failed requests are not charged" in it.member.text
        assert "Given back" in it.member.text
        for _ in range(3):
            await asked(it, it.members_account, client_request_id="again")
        await asked(it, it.members_account, client_request_id="once")
        await it.member.get("/usage/requests?id=again")
        assert "3 requests were sent with again" in it.member.text
        refunded = await asked(it, it.members_account, client_request_id="sorry")
        await it.services.ledger.refund(refunded, note="<i>sorry</i>")
        await it.member.get(f"/usage/requests/{refunded}")
        assert "Refunded $0.000096 <i>sorry</i>" in it.member.text
        assert "<i>" not in it.member.page


async def test_whatever_a_row_holds_is_text(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        for number, nasty in enumerate(NASTY):
            key = (await it.services.accounts.create_key(it.members_account, nasty)).record.id
            row = recorded(it.members_account, key, model=nasty, answered_by=nasty, route=nasty)
            row = replace(row, error_code=nasty[:64], flags=nasty, finish_reason=nasty[:20], client_request_id=f"n{number}")
            await record(it.services.database, row)
            for path in ("/usage/requests", f"/usage/requests/{row.request_id}", "/usage/requests/new?after=0"):
                reply = await it.member.get(path)
                page = reply.body.decode()
                assert reply.status == 200
                assert nasty in html.unescape(page)
                assert "<script>alert" not in page
                assert "<img" not in page
