"""The webhook that says that an account's balance has become low.

Signed as Standard Webhooks do it, so that receivers can use a library: the headers `webhook-id`, `webhook-timestamp` and
`webhook-signature`, which is `v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`.
"""

import asyncio
import base64
import hmac
from typing import Literal

import aiohttp
import msgspec
import structlog
from msgspec import Struct

from tollway import clock
from tollway.ids import random_text
from tollway.money import usd
from tollway.settings import Settings

ATTEMPT_SECONDS_MAX = 10.0
BACKOFF_SECONDS = (1.0, 5.0, 25.0)
"""The pauses before the second and later attempts: four attempts in all."""
DELIVERIES_MAX = 1000
"""Deliveries under way at a time; more are not begun, so that a receiver that hangs costs bounded memory."""

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


class LowBalance(Struct):
    """What the event says."""

    account_id: str
    balance_credits: int
    balance_usd: float
    threshold_credits: int


class LowBalanceEvent(Struct):
    """The body of the POST."""

    id: str
    """Also the header `webhook-id`: the same for all attempts at one delivery."""
    created_at: str
    data: LowBalance
    type: Literal["account.low_balance"] = "account.low_balance"


class LowBalanceNotifier:
    """Tells the operator's webhook once per crossing, aside from what callers wait for. One instance serves one process.

    For the event loop's thread. Without a URL it does nothing.
    """

    def __init__(self, settings: Settings, *, backoff_seconds: tuple[float, ...] = BACKOFF_SECONDS) -> None:
        self._url = settings.low_balance_webhook_url
        self._secret = settings.low_balance_webhook_secret
        self._backoff_seconds = backoff_seconds
        self._deliveries: set[asyncio.Task[None]] = set()

    def crossed(self, account_id: str, balance_credits: int, threshold_credits: int, spent_credits: int) -> None:
        """Takes note of a balance after so much was spent; may be called with every one. Returns at once and never raises.

        What takes the balance below the threshold begins a delivery. Of all settlements of an account, in all processes, that
        is one, until credits come in again.
        """
        if self._url is None or self._secret is None:
            return
        if balance_credits < threshold_credits <= balance_credits + spent_credits:
            if len(self._deliveries) >= DELIVERIES_MAX:
                log.error("low_balance_webhook_dropped", account=account_id, reason="too many are under way")
                return
            data = LowBalance(account_id, balance_credits, usd(balance_credits), threshold_credits)
            event = LowBalanceEvent("evt_" + random_text(24), clock.iso(clock.now()), data)
            task = asyncio.create_task(self._deliver(self._url, self._secret.key, event))
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)

    async def close(self, seconds: float = 5.0) -> None:
        """Lets deliveries finish; what still runs after `seconds` is given up, and logged."""
        if self._deliveries:
            await asyncio.wait(self._deliveries, timeout=seconds)
        for task in self._deliveries:
            task.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)

    async def _deliver(self, url: str, key: bytes, event: LowBalanceEvent) -> None:
        """Attempts until one is answered with a 2xx; the log has how it ended."""
        account, attempts, problem = event.data.account_id, 0, ""
        try:
            for pause in (0.0, *self._backoff_seconds):
                await asyncio.sleep(pause)
                attempts += 1
                problem = await _attempt(url, key, event)
                if not problem:
                    log.info("low_balance_webhook_delivered", account=account, event_id=event.id, attempts=attempts)
                    return
        except asyncio.CancelledError:
            problem = "the server is ending"
            raise
        finally:
            if problem:
                log.error("low_balance_webhook_failed", account=account, event_id=event.id, attempts=attempts, reason=problem)


async def _attempt(url: str, key: bytes, event: LowBalanceEvent) -> str:
    """Sends it once; empty when it was taken, else what went wrong. Never the URL, which may hold a token."""
    body, sent_at = _encode(event), str(int(clock.now()))
    headers = {
        "content-type": "application/json",
        "user-agent": "tollway",
        "webhook-id": event.id,
        "webhook-timestamp": sent_at,
        "webhook-signature": signature(key, event.id, sent_at, body),
    }
    timeout = aiohttp.ClientTimeout(total=ATTEMPT_SECONDS_MAX)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            return "" if 200 <= response.status < 300 else f"status {response.status}"
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return type(error).__name__


def signature(key: bytes, event_id: str, sent_at: str, body: bytes) -> str:
    """The header `webhook-signature`."""
    digest = hmac.digest(key, f"{event_id}.{sent_at}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(digest).decode()
