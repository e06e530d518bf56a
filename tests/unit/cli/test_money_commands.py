"""credits, usage, logs and verify-ledger, as an operator types them, on both databases."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from tests.desks import Bench, record, recorded
from tests.installation import installed
from typer.testing import CliRunner, Result

from tollway.accounts import Caller
from tollway.admission import Desk
from tollway.api.services import Services
from tollway.cli import app
from tollway.money import CREDITS_MAX
from tollway.storage.tables import ledger_entries

pytestmark = pytest.mark.usefixtures("both_databases")
T = TypeVar("T")


@pytest.fixture(autouse=True)
def home(both_databases: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOLLWAY_HOME", str(tmp_path / "home"))
    assert run("db", "migrate").exit_code == 0
    return tmp_path / "home"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def good(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def within(home: Path, work: Callable[[Services], Awaitable[T]]) -> T:
    async def main() -> T:
        async with installed(home) as services:
            return await work(services)

    return asyncio.run(main())


def spent(home: Path, amount: int) -> str:
    """A request of the first account that cost `amount`; its id."""

    async def work(services: Services) -> str:
        owner = await services.accounts.first_account()
        caller = Caller(owner.id, owner.name, "key_1", "tw_1", "one")
        bench = Bench(services.database, Desk(services.database, "node_test"), caller)
        admitted = await bench.admit(max(amount, 10))
        await bench.settle(admitted, amount)
        return admitted.hold.request_id

    return within(home, work)


@pytest.mark.parametrize(
    ("amount", "credits_granted"),
    [
        ("5USD", 10_000_000),
        ("0.0000005USD", 1),
        ("$2.50", 5_000_000),
        ("1", 1),
        ("1,000_000", 1_000_000),
        ("5 usd", 10_000_000),
        ("1_000credits", 1000),
        ("1000000000USD", CREDITS_MAX),
    ],
)
def test_a_grant_is_exact(amount: str, credits_granted: int) -> None:
    told = good("credits", "grant", amount)
    assert told["entry"]["credits"] == told["balance"]["balance"] == told["balance"]["available"] == credits_granted
    assert told["entry"]["type"] == "PAYMENT"


@pytest.mark.parametrize(
    "amount",
    [
        *(
            "0",
            "0USD",
            "-5",
            "-5USD",
            "0.5",
            "1.5",
            "5.0",
            "0.00000005USD",
            "0.00000051USD",
            "5EUR",
            "",
            "USD",
            "$",
            "1e6",
            "nan",
        ),
        *("inf", "NaNUSD", "1e3USD", "5USDUSD", "٥", "١USD", "1000000001USD", "9" * 19, "9" * 400, "0x10", "5 000", "None"),
    ],
)
def test_an_amount_that_is_none_is_refused_and_nothing_is_booked(amount: str) -> None:
    result = run("credits", "grant", "--", amount)
    assert result.exit_code in (1, 2), result.output
    assert "error" in result.stderr
    assert "Traceback" not in result.output
    (balance,) = good("credits", "balance") or [{"balance": 0}]
    assert balance["balance"] == 0


def test_a_grant_that_would_take_away_tells_what_does() -> None:
    refused = run("credits", "grant", "-5USD")
    assert (refused.exit_code, "tollway credits adjust -5USD" in refused.stderr) == (2, True)


def test_a_named_grant_is_given_once() -> None:
    assert good("credits", "grant", "5", "--once", "invoice-1", "--reason", "bonus")["entry"]["type"] == "BONUS"
    again = good("credits", "grant", "5", "--once", "invoice-1")
    assert (again["entry"], again["balance"]["balance"]) == (None, 5)
    said = run("credits", "grant", "5", "--once", "invoice-1")
    assert said.exit_code == 0
    assert all(text in said.stderr for text in ("Nothing was added", "5 credits (0.0000025 USD) to owner"))
    run("accounts", "create", "acme")
    for other in (("6",), ("5", "--account", "acme"), ("6", "--json")):
        refused = run("credits", "grant", *other, "--once", "invoice-1")
        assert (refused.exit_code, refused.stdout, "5 credits" in refused.stderr) == (1, "", True)
        assert [row["balance"] for row in good("credits", "balance")] == [5, 0]
    assert run("credits", "grant", "5", "--once", "a b").exit_code == 2


def test_an_adjustment_goes_both_ways_and_never_below_nothing() -> None:
    good("credits", "grant", "1USD")
    assert good("credits", "adjust", "-0.25USD", "--note", "twice")["balance"]["balance"] == 1_500_000
    assert good("credits", "adjust", "7", "--note", "up")["balance"]["balance"] == 1_500_007
    refused = run("credits", "adjust", "-1500008", "--note", "too much")
    assert (refused.exit_code, "1,500,007 credits available" in refused.stderr) == (1, True)
    for amount in ("0", "-0", "--5", "-"):
        assert run("credits", "adjust", "--note", "x", "--", amount).exit_code == 2
    assert run("credits", "adjust", "5").exit_code == 2, "a note is needed"
    for note in ("x" * 201, "", " ", "two\nlines", "\x1b[31mred", "\udcff"):
        refused = run("credits", "adjust", "5", "--note", note)
        assert (refused.exit_code, "note" in refused.stderr) == (1, True), note


def test_a_balance_is_an_amount_that_can_be_named() -> None:
    for amount in ("500000000USD", "499999999USD"):
        good("credits", "grant", amount)
    for command in (("grant", "1.0000005USD"), ("adjust", "1.0000005USD", "--note", "up")):
        refused = run("credits", *command)
        assert (refused.exit_code, "at most 2,000,000,000,000,000 credits" in refused.stderr) == (1, True)
    assert good("credits", "grant", "1USD")["balance"]["balance"] == 2_000_000_000_000_000


def test_a_refund_is_given_once(home: Path) -> None:
    good("credits", "grant", "1000")
    request = spent(home, 300)
    assert good("credits", "refund", request, "--note", "sorry")["balance"]["balance"] == 1000
    assert "already" in run("credits", "refund", request).stderr
    for wrong in ("nothing", "'; DROP TABLE", "x" * 65, "%"):
        assert run("credits", "refund", wrong).exit_code in (1, 2)
    moves = good("credits", "transactions")
    assert [(move["type"], move["credits"]) for move in moves] == [
        ("REFUND", 300),
        ("MODEL_USAGE", -300),
        ("PAYMENT", 1000),
    ]
    assert [move["credits"] for move in good("credits", "transactions", "--direction", "in", "-n", "1")] == [300]
    assert "sorry" in run("credits", "transactions").stdout


def test_balances_of_all_accounts_or_of_one() -> None:
    run("accounts", "create", "acme")
    good("credits", "grant", "5USD", "--account", "acme")
    table = run("credits", "balance")
    assert table.exit_code == 0
    assert "acme" in table.stdout
    assert [(row["account"], row["low_balance"]) for row in good("credits", "balance", "-a", "acme")] == [("acme", False)]
    assert run("credits", "balance", "--account", "nobody").exit_code == 1


def test_usage_by_key_names_keys_that_are_deleted(home: Path) -> None:
    async def work(services: Services) -> None:
        owner = await services.accounts.first_account()
        key = (await services.accounts.create_key(owner.id, "retired")).record
        await record(services.database, recorded(owner.id, key.id))
        await services.accounts.delete_key(key.id)

    within(home, work)
    assert "retired (deleted)" in run("usage", "--by", "key").stdout


def test_usage_and_logs(home: Path) -> None:
    async def work(services: Services) -> None:
        owner = await services.accounts.first_account()
        key = (await services.accounts.create_key(owner.id, "laptop")).record
        rows = [
            recorded(owner.id, key.id, model="a/b", credits=5, loss=3),
            recorded(owner.id, key.id, status="failed", credits=0, error_code="upstream_error", client_request_id="order-7"),
        ]
        await record(services.database, *rows)

    within(home, work)
    by_model = {row["model"]: row for row in good("usage")}
    assert (by_model["a/b"]["credits"], by_model["a/b"]["loss"], by_model["m"]["failed"]) == (5, 3, 1)
    assert "laptop" in run("usage", "--by", "key", "--period", "24h").stdout
    assert len(good("usage", "--by", "day,model", "--tz", "Asia/Kathmandu", "--period", "366d")) == 2
    for wrong in (("--period", "0d"), ("--period", "367d"), ("--tz", "utc"), ("--by", "hour"), ("--period", "x")):
        assert run("usage", *wrong).exit_code == 2

    assert {row["status"] for row in good("logs")} == {"succeeded", "failed"}
    assert [row["client_request_id"] for row in good("logs", "order-7")] == ["order-7"]
    assert [row["model"] for row in good("logs", "--status", "failed")] == ["m"]
    assert [row["model"] for row in good("logs", "-m", "a/b", "-m", "x")] == ["a/b"]
    assert "upstream_error" in run("logs").stdout
    (prefix,) = [row["prefix"] for row in json.loads(run("keys", "list", "--json").stdout)]
    assert len(good("logs", "--key", prefix, "--limit", "1")) == 1
    assert run("logs", "--key", "tw_nothing").exit_code == 1


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("logs", "no such requests in the last 30d"),
        ("logs nosuch", "This account has no request nosuch; --account names another."),
        ("usage --period 24h", "Nothing was used in the last 24h"),
        ("people list", "nobody yet"),
        ("accounts list", "no accounts"),
        ("credits balance", "no accounts"),
        ("credits transactions", "Nothing has moved"),
    ],
)
def test_where_there_is_nothing_it_says_so(command: str, says: str) -> None:
    result = run(*command.split())
    assert (result.exit_code, result.stdout, says in result.stderr) == (0, "", True)
    assert good(*command.split()) == []


def test_verify_says_that_all_is_right_and_what_is_wrong(home: Path) -> None:
    good("credits", "grant", "1000")
    spent(home, 300)
    told = good("verify-ledger")
    assert (told["ok"], told["totals"]["entries"], told["totals"]["posted"]) == (True, 3, 700)
    shown = run("verify-ledger")
    assert (shown.exit_code, "3 entries of 1 accounts" in shown.stdout) == (0, True)
    assert run("verify-ledger", "--quiet").output == ""

    async def cheat(services: Services) -> None:
        await services.database.write(
            lambda connection: connection.execute(
                sa.update(ledger_entries).where(ledger_entries.c.kind == "settle").values(posted=-299)
            )
        )

    within(home, cheat)
    wrong = run("verify-ledger", "--json")
    assert (wrong.exit_code, json.loads(wrong.stdout)["ok"]) == (1, False)
    assert "entry 3 of account" in json.loads(wrong.stdout)["problem"]
    said = run("verify-ledger")
    assert (said.exit_code, "entry 3 of account" in said.stderr) == (1, True)


@pytest.mark.parametrize(
    "command", ["credits", "credits grant", "credits adjust", "credits refund", "usage", "logs", "verify-ledger"]
)
def test_help_teaches(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout or command == "credits"
