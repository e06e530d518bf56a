"""Query strings, read strictly: what is unknown, repeated or malformed is a 400 that names the parameter."""

import base64
import binascii
import datetime as dt
import math
import re
from collections.abc import Sequence
from typing import Any, get_args

import msgspec
from starlette.requests import Request

from tollway import clock
from tollway.api.patterns import matching
from tollway.api.table import Parameter
from tollway.errors import InvalidRequest
from tollway.usage import Window

DAYS_MAX = 92
_EARLIEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
_SECONDS = {"h": 3600, "d": 86_400}
_NUMBER_MAX = 2**53
_TIME_MAX = 2.0**40

_MOMENT: dict[str, Any] = {"type": "string", "format": "date-time"}
LIMIT = Parameter("limit", "Rows of a page, 1 to 100; default 50.", schema={"type": "integer", "minimum": 1, "maximum": 100})
CURSOR = Parameter("cursor", "`next_cursor` of the page before, as it was.", schema=matching("[A-Za-z0-9_-]{1,64}"))
WINDOW = (
    Parameter(
        "period",
        "The last so many hours or days, such as `24h` or `7d`; at most 92 days. Instead of `start` and `end`.",
        schema=matching("[1-9][0-9]{0,3}[hd]"),
    ),
    Parameter("start", "ISO 8601; without an offset it is UTC. Needs `end`.", schema=_MOMENT),
    Parameter("end", "ISO 8601, not included. At most 92 days after `start`.", schema=_MOMENT),
)


def moment(name: str, description: str) -> Parameter:
    """A parameter that is a time."""
    return Parameter(name, description, schema=_MOMENT)


def choice(name: str, description: str, options: Any, *, many: bool = False) -> Parameter:
    """A parameter that is one of a Literal's values."""
    return Parameter(name, description, many=many, schema={"type": "string", "enum": list(get_args(options))})


class Query:
    """The query string of a request, which may have `parameters` and no others.

    `form`: it comes from a form of a page, where a field that was left empty says nothing.
    """

    def __init__(self, request: Request, parameters: Sequence[Parameter], *, form: bool = False) -> None:
        names = {parameter.name for parameter in parameters if parameter.place == "query"}
        self._values: dict[str, list[str]] = {}
        for name, text in request.query_params.multi_items():
            if name not in names:
                known = ", ".join(sorted(names)) or "none"
                raise InvalidRequest(
                    f"Unknown parameter: {name[:40]!r}. Known are: {known}.", param=name[:40], code="unknown_parameter"
                )
            if text or not form:
                self._values.setdefault(name, []).append(text)

    def text(self, name: str) -> str | None:
        """Raises InvalidRequest when it is given twice."""
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise _wrong(name, "is given more than once")
        return values[0]

    def many(self, name: str, most: int, pattern: str) -> list[str]:
        """All values of a parameter that may be repeated; the pattern matches each as a whole."""
        return [_matched(name, text, pattern) for text in self._repeated(name, most)]

    def matching(self, name: str, pattern: str) -> str | None:
        """The text, which the pattern matches as a whole."""
        text = self.text(name)
        return None if text is None else _matched(name, text, pattern)

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        text = self.text(name)
        if text is None:
            return default
        if re.fullmatch(r"[0-9]{1,15}", text, re.ASCII) is None or not least <= int(text) <= most:
            raise _wrong(name, f"is a whole number from {least:,} to {most:,}")
        return int(text)

    def one_of(self, name: str, options: Any) -> Any:
        """One of a Literal's values, or None."""
        text = self.text(name)
        return None if text is None else _checked(name, text, get_args(options))

    def some_of(self, name: str, options: Any) -> list[Any]:
        """Some of a Literal's values."""
        return [_checked(name, text, get_args(options)) for text in self._repeated(name, len(get_args(options)))]

    def moment(self, name: str, *, with_offset: bool = False) -> float | None:
        """Seconds since the epoch. Without an offset it is UTC, or wrong when one is asked for."""
        text = self.text(name)
        if text is None:
            return None
        try:
            at = dt.datetime.fromisoformat(text)
        except ValueError:
            hint = " (a plus sign in a URL is written %2B)" if " " in text else ""
            raise _wrong(name, f"is no ISO 8601 time, such as 2026-11-23T01:02:03Z{hint}") from None
        if at.tzinfo is None:
            if with_offset:
                raise _wrong(name, "needs its offset from UTC, such as Z")
            at = at.replace(tzinfo=dt.UTC)
        if not _EARLIEST <= at < _LATEST:
            raise _wrong(name, "must be between the years 1970 and 2200")
        return at.timestamp()

    def window(self, default_hours: int | None) -> Window:
        """From `period`, or `start` and `end`; without both the last `default_hours`, or None = all time."""
        period, start, end = self.text("period"), self.moment("start"), self.moment("end")
        now = clock.now()
        if period is not None:
            if start is not None or end is not None:
                raise _wrong("period", "cannot be given together with `start` or `end`")
            match = re.fullmatch(r"([1-9][0-9]{0,3})([hd])", period, re.ASCII)
            if match is None:
                raise _wrong("period", "is a number of hours or days, such as 24h or 7d")
            seconds = int(match[1]) * _SECONDS[match[2]]
            if seconds > DAYS_MAX * 86_400:
                raise _wrong("period", f"is at most {DAYS_MAX} days")
            return Window(now - seconds, now)
        if start is None and end is None:
            return Window() if default_hours is None else Window(now - default_hours * 3600, now)
        if start is None or end is None:
            raise _wrong("end" if end is None else "start", "is missing: `start` and `end` go together")
        if end < start:
            raise _wrong("end", "must not be earlier than `start`")
        if end - start > DAYS_MAX * 86_400:
            raise _wrong("end", f"must be at most {DAYS_MAX} days after `start`")
        return Window(start, end)

    def cursor(self) -> tuple[float, int] | None:
        """The time and number of the last row of the page before."""
        text = self.text("cursor")
        if text is None:
            return None
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if text.isascii() else b""
            at, number = msgspec.msgpack.decode(raw, type=tuple[float, int])
        except (binascii.Error, ValueError, msgspec.DecodeError):
            raise _wrong("cursor", "is none that this server gave") from None
        if not math.isfinite(at) or not 0 <= at <= _TIME_MAX or not 0 < number < _NUMBER_MAX or cursor_text(at, number) != text:
            raise _wrong("cursor", "is none that this server gave")
        return at, number

    def _repeated(self, name: str, most: int) -> list[str]:
        values = self._values.get(name, [])
        if len(values) > most:
            raise _wrong(name, f"is given more than {most} times")
        return values


def cursor_text(at: float, number: int) -> str:
    """An opaque cursor. It carries no rights: a page is always of the caller's own."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode((float(at), number))).rstrip(b"=").decode()


def _matched(name: str, text: str, pattern: str) -> str:
    if re.fullmatch(pattern, text, re.ASCII) is None:
        raise _wrong(name, f"must match {pattern}")
    return text


def _checked(name: str, text: str, options: Sequence[str]) -> str:
    if text not in options:
        raise _wrong(name, f"is one of {', '.join(options)}")
    return text


def _wrong(name: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"`{name}` {problem}.", param=name)
