"""What people send with a form: read with a limit, and only from our own pages."""

import hmac
import re
from decimal import Decimal
from urllib.parse import parse_qs

from tollway.api.body import read_body
from tollway.api.sessions import refuse_other_origins
from tollway.errors import Forbidden, InvalidRequest, UnsupportedMediaType
from tollway.money import credits_of_usd
from tollway.web.frame import Visit

FORM_BYTES_MAX = 100_000
_FIELDS_MAX = 1_000
_DOLLARS = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_WITH_THOUSANDS_MARKS = re.compile(r"[-+]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]+)?")


class Form:
    """The fields of a form."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """The field, or nothing; spaces around it are gone."""
        return self._fields.get(name, [""])[0].strip()

    def secret(self, name: str) -> str:
        """The field as it was typed."""
        return self._fields.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        return self._fields.get(name, [])

    def number(self, name: str, label: str, most: int) -> int | None:
        """A whole number from 1 to `most`, or None where nothing was typed. Raises InvalidRequest with the field's label."""
        text = _without_thousands_marks(self.text(name))
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 15 or not 1 <= int(text) <= most:
            raise InvalidRequest(f"“{label}” is a whole number from 1 to {most:,}, or empty for no limit.", param=name)
        return int(text)

    def credits(self, name: str, *, signed: bool = False) -> int | None:
        """An amount of US dollars as it is typed (`25`, `$1,000.50`; with `signed` also `-3`), in credits, exactly.

        None where nothing was typed. Raises InvalidRequest.
        """
        text = _without_thousands_marks(self.text(name).replace("$", "").replace("−", "-").replace(" ", ""))
        if not text:
            return None
        label = f"The {name.replace('_', ' ')}"
        if not _DOLLARS.fullmatch(text):
            raise InvalidRequest(f"{label} is in US dollars, such as 25 or 0.50.", param=name)
        usd = Decimal(text)
        try:
            amount = credits_of_usd(usd.copy_abs())
        except ValueError as problem:
            raise InvalidRequest(f"{label} cannot be taken: {problem}", param=name) from None
        if usd >= 0:
            return amount
        if not signed:
            raise InvalidRequest(f"{label} is not below zero.", param=name)
        return -amount


def _without_thousands_marks(text: str) -> str:
    """`1,000.50` as `1000.50`. Any other comma stays and makes the number a wrong one: to many people `0,50` is a half."""
    return text.replace(",", "") if _WITH_THOUSANDS_MARKS.fullmatch(text) else text


async def read_form(visit: Visit) -> Form:
    """The form of a POST. Raises Forbidden for one that did not come from our own page, and what a bad body deserves."""
    request = visit.request
    refuse_other_origins(request.scope, visit.services.settings.public_url)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("A form is sent as application/x-www-form-urlencoded.")
    body = await read_body(request.scope, request.receive, FORM_BYTES_MAX, visit.services.settings.receive_seconds, what="form")
    try:
        form = Form(parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX))
    except ValueError:  # UnicodeDecodeError among them
        raise InvalidRequest("The form cannot be read.") from None
    if not hmac.compare_digest(form.text("csrf").encode("utf-8", "replace"), visit.csrf.encode()):
        raise Forbidden(
            "This form is too old, or not from one of our own pages. Go back, reload the page and try again.",
            code="form_too_old",
        )
    return form
