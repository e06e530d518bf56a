"""The owner's view of the installation."""

import asyncio
import html
import re
from pathlib import Path

from msgspec.structs import replace
from tests.two_accounts import NASTY, site, use

from tollway.catalog import Limits, LocalModel, load_catalog
from tollway.observability import Metrics
from tollway.providers.breaker import HALF_OPEN, OPEN
from tollway.providers.routing import Router
from tollway.providers.upstream_health import Call, UpstreamState
from tollway.web import operator

OPEN_ONE = UpstreamState("google", "open", 12.3, 0, 512, [], 214, {"upstream_timeout": 7}, 0.414)
FINE_ONE = UpstreamState("local", "closed", 0, 3, 0, ["slow"], 1290, {}, None)


async def no_answer() -> dict[str, bool]:
    await asyncio.sleep(60)
    return {}


async def some_answer() -> dict[str, bool]:
    return {"small": True, "<b>large</b>": False}


async def test_what_an_owner_sees(tmp_path: Path) -> None:
    async with site(tmp_path, upstreams=lambda: [FINE_ONE, OPEN_ONE], engine_health=some_answer) as it:
        await use(it, it.members_account, 3, status="failed", error_code="upstream_timeout", route="google/m", credits=0)
        await use(it, it.members_account, 5, credits=0)
        await it.owner.get("/operator")
        for words in (
            "google left alone for 13 s 0 of 512 214 7 × upstream timeout 0.41 s",
            "local asked asks for patience 3 1,290 none –",
            "small answers",
            "<b>large</b> does not answer",
            "SQLite 3",
            "upstream timeout google/m m@example.org",
            "adds up",
        ):
            assert words in it.owner.text, words
        assert it.owner.text.index("google") < it.owner.text.index("local"), "trouble comes first"
        assert it.owner.text.count("google/m") == 3
        assert "<b>large" not in it.owner.page
        assert re.search(r"\d\d:\d\d:00 5 3 0 40 ", it.owner.text), "the chart's table"
        assert (await it.member.get("/operator")).status == 403


async def test_totals_are_those_of_the_ledger(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        await it.services.ledger.grant(it.members_account, 2_000_000_000)
        await it.services.ledger.adjust(it.owners_account, 4_000_000, note="x")
        await it.owner.get("/operator")
        assert "Granted $1,000.00 Adjusted $2.00 Charged $0.00 In all accounts adds up $1,002.00" in it.owner.text
        await use(it, it.owners_account, 1, credits=5)  # used, says the log; the ledger knows nothing of it
        await it.owner.get("/operator")
        assert "does not add up" in it.owner.text


async def test_engines_that_hang_do_not_hang_the_page(tmp_path: Path) -> None:
    operator._ENGINE_SECONDS, kept = 0.05, operator._ENGINE_SECONDS
    try:
        async with site(tmp_path, engine_health=no_answer) as it:
            assert (await it.owner.get("/operator")).status == 200
            assert "do not answer" in it.owner.text
            assert "No upstream is in use" in it.owner.text
    finally:
        operator._ENGINE_SECONDS = kept


async def test_accounts_page_by_page(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        names = [f"account {number:03}" for number in range(60)] + list(NASTY)
        for name in names:
            await it.services.accounts.create_account(name)
        seen, path = "", "/operator"
        while path:
            await it.owner.get(path)
            assert "<script>alert" not in it.owner.page
            seen += it.owner.text
            more = re.search(r'rel="next" href="([^"]+)#accounts"', it.owner.page)
            path = html.unescape(more[1]) if more else ""
        assert all(f" {name} $0.00 low $0.00 Book" in seen for name in names)


def test_the_state_of_an_upstream_is_what_happened_to_it() -> None:
    catalog = load_catalog([LocalModel("m", "M", "D", 2048, sees=False, thinks=False)], default_model="m", stand_in=True)
    router = Router({}, Metrics())
    local = catalog.routes[0]
    route = replace(local, upstream=replace(local.upstream, name="other", limits=Limits()))
    health = router.health(route)
    (state,) = router.states([route])
    assert (state.name, state.breaker, state.attempts, state.failures) == ("other", "closed", 0, {})
    assert state.first_token_seconds is None

    with Call(health, route, 1, "r") as call:
        call.answering()
        (state,) = router.states([route])
        assert (state.pending, state.pending_max) == (1, route.upstream.limits.concurrency_max)
    for _ in range(route.upstream.limits.breaker_failures):
        health.failed("upstream_timeout", probe=False)
    health.rest("m", 30)
    (state,) = router.states([route])
    assert (state.pending, state.attempts, state.failures) == (
        0,
        1,
        {"upstream_timeout": route.upstream.limits.breaker_failures},
    )
    assert (state.breaker, state.resting) == ("open", ["m"])
    assert 0 < state.pause_seconds <= 6
    assert state.first_token_seconds is not None
    assert {HALF_OPEN, OPEN} == {1, 2}, "the words are in this order"
