"""Values of flags that are more than text: durations, amounts, lists. One that does not fit ends the command with code 2."""

import re
from decimal import Decimal

from tollway.cli.terminal import fail
from tollway.money import credits_of_usd, exact_usd
from tollway.wire.keys import SpendWindow

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_USD = r"\d{1,12}(?:\.\d{1,12})?"
_AMOUNT = rf"\$\s*(?P<dollars>{_USD})|(?P<usd>{_USD})\s*USD|(?P<credits>\d(?:[\d_,]{{0,24}}\d)?)\s*credits?"
_PLAIN = re.IGNORECASE | re.ASCII
_WINDOWS: dict[str, SpendWindow] = {"": "no_reset", "day": "day", "week": "week", "month": "month"}


def seconds(text: str, flag: str, *, least: int = 1) -> int:
    """A duration such as 90s, 15m, 12h, 30d or 8w; 0 where it is allowed."""
    match = re.fullmatch(r"(0|[1-9]\d{0,8})([smhdw]?)", text.strip())
    if match is None or int(match[1]) < least or (not match[2] and match[1] != "0"):
        fail(f"{flag} {text!r} is no duration: write a number and s, m, h, d or w, such as 30d.", 2)
    return int(match[1]) * _SECONDS[match[2] or "s"]


def limit(text: str, flag: str) -> int | None:
    """A positive whole number, or `none`."""
    if text.strip().lower() == "none":
        return None
    plain = text.strip().replace("_", "").replace(",", "")
    if not re.fullmatch(r"[1-9][0-9]{0,9}", plain):
        fail(f"{flag} {text!r} is no limit: write a whole number from 1, or none.", 2)
    return int(plain)


def rates(rpm: str | None, tpm: str | None, concurrency: str | None) -> dict[str, int | None]:
    """What `--rpm`, `--tpm` and `--concurrency` say, by the field that each sets; those that were not given are left out."""
    given = (
        ("requests_per_minute", rpm, "--rpm"),
        ("tokens_per_minute", tpm, "--tpm"),
        ("concurrency_max", concurrency, "--concurrency"),
    )
    return {field: limit(text, flag) for field, text, flag in given if text is not None}


def credits_amount(text: str, flag: str) -> int:
    """An amount in credits: US dollars such as 2.50USD, or credits such as 10000credits. The unit is part of it."""
    match = re.fullmatch(_AMOUNT, text.strip(), _PLAIN)
    if match is None:
        _refuse_bare(text, flag, "")
        fail(f"{flag} {text!r} is no amount: write US dollars, such as 5USD or 0.25USD, or credits, such as 10000credits.", 2)
    return _credits(match, text, flag)


def credits_or_usd(text: str, flag: str) -> int:
    """An amount of more than nothing: whole credits such as 500000, or US dollars such as 5USD; exact."""
    plain = text.strip().replace("_", "").replace(",", "")
    if re.fullmatch(r"[0-9]{1,19}", plain, re.ASCII):
        amount = int(plain)
    elif (match := re.fullmatch(_AMOUNT, text.strip(), _PLAIN)) is None:
        fail(f"{flag} {text!r} is no amount: write whole credits, such as 500000, or US dollars, such as 5USD or 0.25USD.", 2)
    else:
        amount = _credits(match, text, flag)
    if amount < 1:
        fail(f"{flag} {text!r} is nothing: the least is 1 credit, 0.0000005USD.", 2)
    return amount


def reference(text: str, flag: str) -> str:
    """A name that the ledger keeps: a request id, or an invoice's number."""
    if not re.fullmatch(r"[A-Za-z0-9._:/-]{1,64}", text, re.ASCII):
        fail(f"{flag} {text[:80]!r} must be 1 to 64 letters, digits, or . _ : / -", 2)
    return text


def spend_limit(text: str, flag: str) -> tuple[int | None, SpendWindow | None]:
    """Such as 5USD/day, /week or /month; without a window it is never reset; `none` = no limit."""
    if text.strip().lower() == "none":
        return None, None
    match = re.fullmatch(rf"(?:{_AMOUNT})\s*(?:/\s*(?P<window>day|week|month))?", text.strip(), _PLAIN)
    if match is None:
        _refuse_bare(text, flag, "/day")
        fail(f"{flag} {text!r} is no spend limit: write 5USD/day, /week or /month, 5USD for good, or none.", 2)
    return _credits(match, text, flag), _WINDOWS[(match["window"] or "").lower()]


def words(text: str) -> tuple[str, ...] | None:
    """A list separated by commas; `all` = None, no restriction."""
    if text.strip().lower() == "all":
        return None
    return tuple(word.strip() for word in text.split(",") if word.strip())


def scopes(text: str) -> tuple[str, ...] | None:
    """As `words`; `chat` is short for `model:chat`."""
    given = words(text)
    return None if given is None else tuple(word if ":" in word else f"model:{word}" for word in given)


def spend_text(credits_limit: int | None, window: SpendWindow | None) -> str | None:
    """What `spend_limit` reads."""
    if credits_limit is None:
        return None
    return f"{exact_usd(credits_limit)}USD" + ("" if window in (None, "no_reset") else f"/{window}")


def _refuse_bare(text: str, flag: str, window: str) -> None:
    """A number without a unit is refused: it could be meant in credits, and one dollar is two million of them."""
    match = re.fullmatch(r"([0-9][0-9_,.]*)\s*(?:/.*)?", text.strip(), re.ASCII)
    if match is not None:
        forms = f"{match[1]}USD{window} or {match[1]}credits{window}"
        fail(f"{flag} {text!r} has no unit: write {forms}, whichever is meant. 1USD is 2,000,000 credits.", 2)


def _credits(match: re.Match[str], text: str, flag: str) -> int:
    """Those that a match of `_AMOUNT` is."""
    if match["credits"]:
        return int(match["credits"].replace("_", "").replace(",", ""))
    try:
        return credits_of_usd(Decimal(match["dollars"] or match["usd"]))
    except ValueError as error:
        fail(f"{flag} {text!r}: {error}", 2)
