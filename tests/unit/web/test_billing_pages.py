"""Usage and billing as people see them: sums, filters, pages, CSV, and what an owner books by hand."""

import asyncio
import csv
import datetime as dt
import html
import io
import re
from pathlib import Path

import pytest
from tests.asgi import Reply
from tests.two_accounts import NASTY, Site, site, use
from tests.visitor import Visitor

from tollway import clock
from tollway.accounts import AccountChanges
from tollway.ledger.verify import verify
from tollway.usage import CHAT
from tollway.usage.latency import LatencyCounter
from tollway.web.billing import PAGE_ROWS


async def test_usage_is_summed_by_time_model_and_key(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        key = (await it.services.accounts.create_key(it.members_account, "<b>laptop</b>")).record.id
        now = clock.now()
        await use(it, it.members_account, 3, model="vendor/one", credits=500_000, key_id=key, created_at=now)
        await use(it, it.members_account, 1, model="vendor/two", credits=2_000_000, created_at=now - 40 * 86_400)
        await use(it, it.members_account, 2, model="vendor/two", status="failed", credits=0, created_at=now - 2 * 86_400)
        await use(it, it.owners_account, 5, model="vendor/secret", credits=9_000_000)

        await it.member.get("/usage")
        assert "Spent $0.75 Requests 5 2 failed" in it.member.text
        assert "<b>laptop</b> 3 45 $0.75" in it.member.text
        assert "<b>laptop" not in it.member.page
        assert "playground 2 30 $0.00" in it.member.text
        assert "secret" not in it.member.page
        await it.member.get("/usage?range=90d")
        assert "Spent $1.75 Requests 6" in it.member.text
        await it.member.get("/usage?range=24h")
        assert "Spent $0.75 Requests 3 none failed" in it.member.text
        hour = dt.datetime.fromtimestamp(now, dt.UTC)
        assert f"{hour.day} {hour:%b} {hour:%H}:00 $0.75 3 0 30 15" in it.member.text, "the chart's table"
        await it.member.get(f"/usage?range=90d&key={key}")
        assert "Only the key <b>laptop</b>" in it.member.text
        assert "vendor/two" not in it.member.page

        assert (await it.member.get("/usage?range=1y")).status == 400
        for stranger in (key, "*", "x' OR 1=1"):
            assert (await it.owner.get(f"/usage?key={stranger}")).status == 404


async def test_a_balance_is_called_low_below_the_accounts_threshold(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        for threshold, is_low in ((0, False), (1, True)):
            await it.services.accounts.update_account(it.members_account, AccountChanges(low_balance_credits=threshold))
            await it.member.get("/usage")
            assert ("low: below $0.0000005" in it.member.text, 'class="money low"' in it.member.page) == (is_low, is_low)
            await it.member.get("/usage/billing")
            assert ("it is low now" in it.member.text, 'class="money low"' in it.member.page) == (is_low, is_low)


async def test_usage_says_which_models_are_stood_in_for(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await use(it, it.members_account, 1, model="google/gemini-2.5-flash-lite-preview")
        await use(it, it.members_account, 1, model="local/smollm2-135m-instruct")
        await it.member.get("/usage")
        said = "google/gemini-2.5-flash-lite-preview has no upstream here: local/smollm2-135m-instruct answers in its place"
        assert said in it.member.text
        assert it.member.text.count("answers in its place") == 1


async def test_chats_of_the_command_are_one_key_and_other_deleted_keys_keep_their_names(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        accounts = it.services.accounts
        for name, amount in (
            (f"{CHAT} pmXsXm", 250_000),
            (f"{CHAT} a1B2c3", 500_000),
            (f"{CHAT} server", 125_000),
            ("old", 62_500),
        ):
            key = (await accounts.create_key(it.members_account, name)).record.id
            await use(it, it.members_account, 1, key_id=key, credits=amount)
            if not name.endswith("server"):
                await accounts.delete_key(key)
        await it.member.get("/usage")
        by_key = it.member.text.partition("By key")[2].partition("Latency")[0]
        assert "tollway chat 2 30 $0.375 tollway chat server 1 15 $0.0625 old 1 15 $0.03125" in by_key
        assert "pmXsXm" not in it.member.page
        await it.member.get("/usage/requests")
        choices = it.member.page.partition('<select id="key"')[2].partition("</select>")[0]
        assert [name in choices for name in ("pmXsXm", "a1B2c3", f"{CHAT} server", ">old<")] == [False, False, True, True]
        assert f"{CHAT} pmXsXm" in it.member.text, "each request still says which key it came with"


async def test_latency_is_shown_by_time_and_by_model(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        now = clock.now()
        await use(it, it.members_account, 20, model="vendor/one", first_token_ms=100, duration_ms=1000, created_at=now)
        await use(it, it.members_account, 20, model="vendor/two", first_token_ms=9000, duration_ms=90_000, created_at=now)
        await use(it, it.members_account, 9, model="vendor/one", status="failed", duration_ms=1, created_at=now)
        counter = LatencyCounter(it.services.database)
        await it.member.get("/usage")
        assert "No request succeeded in this time" in it.member.text
        await counter.count()
        await counter.count()
        await it.member.get("/usage")
        assert re.search(r"vendor/one 20 9\d ms 10\d ms 9\d\d ms 1\.0\d s", it.member.text)
        assert re.search(r"vendor/two 20 (8|9)\.\d\d s 9\.\d+ s \d\d\.\d s 9\d\.\d s", it.member.text)
        day = dt.datetime.fromtimestamp(now, dt.UTC)
        assert f"{day.day} {day:%b} 40 " in it.member.text, "the charts' table"
        await it.member.get("/usage?range=24h&model=vendor%2Ftwo")
        assert "Only vendor/two" in it.member.text
        assert f"{day.day} {day:%b} {day:%H}:00 20 " in it.member.text
        await it.member.get("/usage?model=%3Cscript%3E")
        assert "<script>" in it.member.text
        assert "Only <b><bdi>&lt;script&gt;" in it.member.page
        await it.owner.get("/usage")
        assert "vendor" not in it.owner.page


async def test_an_empty_account_has_pages_too(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        for path, words in (
            ("/usage", "Nothing in this time"),
            ("/usage?range=24h", "There were no requests"),
            ("/usage/billing", "Nothing has moved this balance yet"),
        ):
            assert (await it.member.get(path)).status == 200
            assert words in it.member.text
        assert len(await lines_of(it.member)) == 1


async def test_transactions_page_by_page(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        for number in range(PAGE_ROWS + 7):
            await it.services.ledger.grant(it.members_account, 2_000_000 + number, note=f"number {number}.")
        await it.services.ledger.adjust(it.members_account, -1, note="rounding")
        await it.services.ledger.grant(it.owners_account, 1, note="the owner's")
        await it.member.get("/usage/billing")
        newest = it.member.text
        assert "rounding" in newest
        assert "−$0.0000005" in newest
        older = re.search(r'rel="next" href="([^"]+)"', it.member.page)
        assert older
        await it.member.get(html.unescape(older[1]))
        both = newest + it.member.text
        assert all(both.count(f"number {number}. ") == 1 for number in range(PAGE_ROWS + 7))
        assert 'rel="next"' not in it.member.page
        assert "the owner's" not in both

        await it.member.get("/usage/billing?type=ADJUSTMENT&direction=&from=&to=")
        assert it.member.page.count("<time ") == 1
        await it.member.get("/usage/billing?direction=CHARGE")
        assert it.member.page.count("<time ") == 1
        today = clock.iso(clock.now())[:10]
        await it.member.get(f"/usage/billing?from={today}&to={today}&type=PAYMENT")
        assert it.member.page.count("<time ") == PAGE_ROWS, "the last day is meant as a whole"
        await it.member.get("/usage/billing?from=2020-01-01&to=2020-01-02")
        assert "Nothing fits these filters" in it.member.text


async def test_a_wrong_filter_is_told(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        for query in ("type=X", "direction=in", "from=yesterday", "from=2026-02-02&to=2026-01-01", "order=asc", "type=<b>"):
            assert (await it.member.get(f"/usage/billing?{query}")).status == 400, query
            assert 'role="alert"' in it.member.page
            assert "<b>" not in it.member.text
            assert (await it.member.get(f"/usage/billing/transactions.csv?{query}")).status == 400, query
        assert (await it.member.get("/usage/billing?cursor=!")).status == 400


async def lines_of(visitor: Visitor, query: str = "") -> list[list[str]]:
    reply = await visitor.get(f"/usage/billing/transactions.csv{query}")
    assert reply.status == 200
    assert (reply.header("content-type"), reply.header("cache-control")) == ("text/csv; charset=utf-8", "no-store")
    assert str(reply.header("content-disposition")).startswith('attachment; filename="tollway-transactions-')
    return list(csv.reader(io.StringIO(reply.body.decode())))


async def test_the_export_is_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tollway.web.billing._EXPORT_ROWS", 3)
    async with site(tmp_path) as it:
        for number, note in enumerate(NASTY):
            await it.services.ledger.grant(it.members_account, number + 1, note=note)
        await it.services.ledger.adjust(it.members_account, -2, note="+1+1")
        await it.services.ledger.grant(it.owners_account, 1, note="the owner's")
        header, *rows = await lines_of(it.member)
        assert header[:5] == ["time", "type", "direction", "usd", "credits"]
        assert [row[-1] for row in rows] == ["'+1+1", *(f"'{note}" if note[0] == "=" else note for note in NASTY[::-1])]
        assert [row[3:5] for row in rows[:2]] == [["-0.000001", "-2"], ["0.000003", "6"]]
        assert len(await lines_of(it.member, "?direction=CHARGE")) == 2


def once_of(visitor: Visitor) -> str:
    found = re.search(r'name="once" value="([^"]+)"', visitor.page)
    assert found, visitor.text
    return found[1]


async def review(it: Site, **fields: str) -> Reply:
    await it.owner.get("/operator/book")
    usual = {"once": once_of(it.owner), "account": it.members_account, "kind": "payment", "amount": "25", "note": "Invoice 7"}
    return await it.owner.post("/operator/book", usual | fields)


def hidden_of(visitor: Visitor) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', visitor.page)
    return {name: html.unescape(value) for name, value in found}


async def test_what_is_booked_by_hand_is_reviewed_and_booked_once(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await review(it, amount="$1,000.50")
        assert "Is this right?" in it.owner.text
        assert "+$1,000.50" in it.owner.text
        assert (await it.services.ledger.balance(it.members_account)).posted == 0, "nothing is booked before it is confirmed"
        sent = hidden_of(it.owner)
        replies = await asyncio.gather(*(it.owner.submit("/operator/book", sent) for _ in range(5)))
        assert {reply.status for reply in replies} == {303}
        assert (await it.services.ledger.balance(it.members_account)).posted == 2_001_000_000
        await it.owner.get(replies[0].header("location") or "")
        assert re.search(r"Booked. \+\$1,000.50 for m@example.org \w+ : Invoice 7", it.owner.text)

        await review(it, kind="adjustment", amount="-0.5", note="counted twice")
        assert "Available then $1,000.00" in it.owner.text
        sent = hidden_of(it.owner)
        for _ in range(2):
            assert (await it.owner.submit("/operator/book", sent)).status == 303
        assert (await it.services.ledger.balance(it.members_account)).posted == 2_000_000_000
        await it.member.get("/usage/billing")
        assert "Adjustment counted twice" in it.member.text
        await it.services.database.read(verify)


WRONG = [
    ("account", "nobody", "There is no account"),
    ("amount", "five", "in US dollars"),
    ("amount", "", "in US dollars"),
    ("amount", "0,50", "in US dollars"),
    ("amount", "1.000,50", "in US dollars"),
    ("amount", "NaN", "in US dollars"),
    ("amount", "1e5", "in US dollars"),
    ("amount", "1000000001", "cannot be taken"),
    ("amount", "0.00000001", "cannot be taken"),
    ("amount", "0", "not zero"),
    ("amount", "-1", "Only an adjustment"),
    ("kind", "gift", "Choose what kind"),
    ("note", "x" * 201, "at most 200"),
    ("note", "a\nb", "one line"),
    ("once", "grant_x", "damaged"),
]


async def test_what_cannot_be_booked_is_told(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        for field, value, told in WRONG:
            for confirmed in ({}, {"confirmed": "yes"}):
                assert (await review(it, **{field: value} | confirmed)).status == 400, value
                assert told in it.owner.text
        assert (await it.services.ledger.balance(it.members_account)).posted == 0


async def test_no_more_is_taken_than_there_is(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.services.ledger.grant(it.members_account, 2_000_000)
        for confirmed in ({}, {"confirmed": "yes"}):
            assert (await review(it, kind="adjustment", amount="-1.01", note="too much", **confirmed)).status == 400
        assert (await it.services.ledger.balance(it.members_account)).posted == 2_000_000


async def test_only_owners_book(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        assert (await it.member.get("/operator/book")).status == 403
        await it.member.get("/usage/billing")
        assert "Book credits" not in it.member.text
        await it.member.get("/keys")
        fields = {"csrf": it.member.csrf, "account": it.members_account, "kind": "payment", "amount": "9"}
        reply = await it.member.submit("/operator/book", fields | {"once": "byhand_" + "a" * 21, "confirmed": "yes"})
        assert reply.status == 403
        assert (await it.services.ledger.balance(it.members_account)).posted == 0


async def test_whatever_a_name_is_it_is_text(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        for nasty in NASTY:
            await _is_text(it, nasty)


async def _is_text(it: Site, nasty: str) -> None:
    key = (await it.services.accounts.create_key(it.owners_account, nasty)).record.id
    await use(it, it.owners_account, 1, model=nasty, key_id=key, credits=5)
    await it.services.ledger.grant(it.owners_account, 5, note=nasty)
    for path in ("/usage", "/usage/billing", f"/usage?key={key}"):
        assert (await it.owner.get(path)).status == 200
        assert nasty in html.unescape(it.owner.page)
        assert "<script>alert" not in it.owner.page
        assert "<img" not in it.owner.page
    await review(it, note=nasty)
    assert nasty in it.owner.text
    assert "<script>alert" not in it.owner.page
