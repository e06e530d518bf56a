"""The low-balance webhook, against a real HTTP server."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from msgspec.structs import replace
from tests.desks import opened, order, outcome
from tests.fakes.faults import Cut, Hang, Received, Reply, Reset
from tests.fakes.server import FakeServer

from tollway import settings, webhooks
from tollway.accounts import AccountChanges, Accounts
from tollway.admission import Admitted, Desk
from tollway.app import WorkerConfig
from tollway.catalog import shipped_configuration
from tollway.settings import Settings, SettingsError, WebhookSecret
from tollway.storage import Database
from tollway.webhooks import LowBalanceNotifier

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
FAST = (0.01, 0.01, 0.01)


class Receiver(FakeServer):
    """Answers 204, or what a test has queued."""

    async def answer(self, received: Received) -> Reply:
        return self.next_queued() or Reply(status=204)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


def notifier(receiver: Receiver, backoff: tuple[float, ...] = FAST) -> LowBalanceNotifier:
    url = f"{receiver.url}/hook?token=t0ken"
    given = Settings(low_balance_webhook_url=url, low_balance_webhook_secret=WebhookSecret(SECRET))
    return LowBalanceNotifier(given, backoff_seconds=backoff)


def _event(received: Received) -> dict[str, Any]:
    """What a delivery says, once it is proven to be ours."""
    id_, sent_at = received.headers["webhook-id"], received.headers["webhook-timestamp"]
    mac = hmac.new(KEY, f"{id_}.{sent_at}.".encode() + received.body, hashlib.sha256).digest()
    assert received.headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
    event: dict[str, Any] = json.loads(received.body)
    assert event["id"] == id_
    return event


async def test_a_crossing_is_told_once_signed(receiver: Receiver) -> None:
    it = notifier(receiver)
    before = 20_005
    for balance in (20_000, 10_000, 9_999, 5_000, 3, 3):
        it.crossed("acc_1", balance, 10_000, before - balance)
        before = balance
    await it.close()
    (received,) = receiver.received
    assert (received.method, received.path, received.query) == ("POST", "/hook", {"token": "t0ken"})
    event = _event(received)
    assert event["type"] == "account.low_balance"
    assert event["data"] == {
        "account_id": "acc_1",
        "balance_credits": 9_999,
        "balance_usd": 0.0049995,
        "threshold_credits": 10_000,
    }


async def test_each_crossing_of_each_account_is_its_own(receiver: Receiver) -> None:
    it = notifier(receiver)
    for account, balance, spent in (("a", 5, 5), ("b", 5, 90), ("a", 4, 1), ("a", 10, 3), ("a", 9, 1), ("b", 3, 2)):
        it.crossed(account, balance, 10, spent)
    await it.close()
    told = [_event(received) for received in receiver.received]
    assert sorted((event["data"]["account_id"], event["data"]["balance_credits"]) for event in told) == [
        ("a", 5),
        ("a", 9),
        ("b", 5),
    ]
    assert len({event["id"] for event in told}) == 3


@pytest.mark.parametrize(
    "bad",
    [
        Reply(status=500),
        Reply(status=404),
        Reply(status=302, headers={"location": "/elsewhere"}),
        Reply(before=(Reset(),)),
        Reply(before=(Hang(),)),
    ],
    ids=["500", "404", "redirect", "reset", "hang"],
)
async def test_what_fails_is_tried_again_with_the_same_id(
    receiver: Receiver, bad: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "ATTEMPT_SECONDS_MAX", 0.2)
    receiver.queue(bad, bad)
    it = notifier(receiver)
    it.crossed("a", 1, 10, 9)
    await it.close()
    assert len(receiver.received) == 3
    assert len({_event(received)["id"] for received in receiver.received}) == 1
    assert {received.path for received in receiver.received} == {"/hook"}


async def test_an_answer_whose_body_breaks_off_is_taken(receiver: Receiver) -> None:
    receiver.queue(Reply(status=200, steps=(b"o", Cut())))
    it = notifier(receiver)
    it.crossed("a", 1, 10, 9)
    await it.close()
    assert len(receiver.received) == 1


async def test_after_four_attempts_it_is_given_up_and_logged_without_the_url(receiver: Receiver) -> None:
    receiver.queue(*[Reply(status=503)] * 10)
    it = notifier(receiver)
    with structlog.testing.capture_logs() as logs:
        it.crossed("a", 1, 10, 9)
        it.crossed("a", 0, 10, 1)
        await it.close()
    assert len(receiver.received) == 4
    (entry,) = logs
    assert (entry["event"], entry["log_level"], entry["attempts"]) == ("low_balance_webhook_failed", "error", 4)
    assert entry["reason"] == "status 503"
    assert "t0ken" not in repr(logs)


async def test_nobody_waits_for_a_receiver_that_hangs(receiver: Receiver) -> None:
    receiver.queue(Reply(before=(Hang(),)))
    it = notifier(receiver)
    with structlog.testing.capture_logs() as logs:
        it.crossed("a", 1, 10, 9)
        await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        await it.close(0.1)
        assert asyncio.get_running_loop().time() - began < 2
    assert [(entry["event"], entry["reason"]) for entry in logs] == [("low_balance_webhook_failed", "the server is ending")]


async def test_a_receiver_that_is_not_there_costs_bounded_memory(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "DELIVERIES_MAX", 5)
    it = notifier(receiver, (60.0,))
    await receiver.stop()
    with structlog.testing.capture_logs() as logs:
        for number in range(8):
            it.crossed(f"a{number}", 1, 10, 9)
        await it.close(0.1)
    assert sum(entry["event"] == "low_balance_webhook_dropped" for entry in logs) == 3


async def test_without_a_url_nothing_is_done() -> None:
    it = LowBalanceNotifier(Settings())
    with structlog.testing.capture_logs() as logs:
        it.crossed("a", 1, 10, 9)
        await it.close()
    assert logs == []


async def test_the_desk_tells_of_every_balance_it_settles(receiver: Receiver, database: Database) -> None:
    """From a settlement to the webhook, with the account's own threshold."""
    bench = await opened(database, 1000)
    accounts = Accounts(database, b"s" * 32)
    await accounts.update_account(bench.caller.account_id, AccountChanges(low_balance_credits=950))
    new = await accounts.create_key(bench.caller.account_id)
    caller = await accounts.authenticate(f"Bearer {new.secret}")
    it = notifier(receiver)
    desk = Desk(database, "n1", it.crossed)
    for cost in (40, 20, 30):
        admitted = await desk.admit(order(caller, 100))
        assert isinstance(admitted, Admitted)
        await desk.finish(outcome(admitted, cost))
    await desk.close()
    await it.close()
    await accounts.close()
    (received,) = receiver.received
    assert _event(received)["data"]["balance_credits"] == 940
    assert _event(received)["data"]["threshold_credits"] == 950


async def test_two_workers_tell_of_one_crossing(receiver: Receiver, database: Database) -> None:
    bench = await opened(database, 1000)
    caller = replace(bench.caller, low_balance_credits=500)
    workers = [(notifier(receiver), f"n{number}") for number in range(2)]
    desks = [Desk(database, node, it.crossed) for it, node in workers]
    for number in range(10):
        admitted = await desks[number % 2].admit(order(caller, 100))
        assert isinstance(admitted, Admitted)
        await desks[number % 2].finish(outcome(admitted, 90))
    for it, _ in workers:
        await it.close()
    (received,) = receiver.received
    assert _event(received)["data"]["balance_credits"] == 460


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("low_balance_webhook_url", "ftp://host/hook"),
        ("low_balance_webhook_url", "https://user:pw@host/hook"),
        ("low_balance_webhook_url", "https:///hook"),
        ("low_balance_webhook_secret", "s3cret"),
        ("low_balance_webhook_secret", "whsec_s3cret"),
        ("low_balance_webhook_secret", "whsec_" + "s3cret" * 200),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        settings.load({"home": str(tmp_path)}, {f"TOLLWAY_{name.upper()}": value})
    assert "s3cret" not in str(caught.value)


def test_a_url_without_a_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs low_balance_webhook_secret"):
        settings.load({"home": str(tmp_path)}, {"TOLLWAY_LOW_BALANCE_WEBHOOK_URL": "https://host/hook"})


async def test_the_documented_receiver_believes_it_and_nothing_else(receiver: Receiver) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    it = notifier(receiver)
    it.crossed("a", 1, 10, 9)
    await it.close()
    (received,) = receiver.received
    headers = dict(received.headers)
    assert names["is_genuine"](SECRET, headers, received.body)
    assert not names["is_genuine"](SECRET, headers, received.body + b" ")
    assert not names["is_genuine"]("whsec_" + base64.b64encode(KEY[::-1]).decode(), headers, received.body)
    assert not names["is_genuine"](SECRET, headers | {"webhook-timestamp": "1"}, received.body)
    shown = json.loads(page.partition("```json\n")[2].partition("```")[0])
    assert set(shown) == set(json.loads(received.body))
    assert set(shown["data"]) == set(json.loads(received.body)["data"])


def test_workers_get_the_secret_in_a_private_file(tmp_path: Path) -> None:
    given = Settings(home=tmp_path, low_balance_webhook_secret=WebhookSecret(SECRET))
    with WorkerConfig(given, [], shipped_configuration()).handed_out():
        assert WorkerConfig.received().settings.low_balance_webhook_secret == WebhookSecret(SECRET)


def test_the_secret_is_never_shown() -> None:
    secret = WebhookSecret(SECRET)
    assert SECRET[6:] not in f"{secret} {secret!r} {Settings(low_balance_webhook_secret=secret)!r}"
    assert (secret.reveal(), secret.key) == (SECRET, KEY)
