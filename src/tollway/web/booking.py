"""An owner books credits by hand: a form, what it would do, and then the entry. Sent twice, it is booked once."""

import re
from typing import Any, Literal

from msgspec import Struct
from starlette.responses import Response

from tollway.accounts import Account
from tollway.errors import InvalidRequest, NotFound
from tollway.ids import random_text
from tollway.ledger import checked_note
from tollway.web import display
from tollway.web.forms import Form, read_form
from tollway.web.frame import Visit

KINDS: dict[str, str] = {
    "payment": "Payment: it was paid for",
    "bonus": "Bonus: a present",
    "adjustment": "Adjustment: a correction, up or down",
}
_ONCE = re.compile(r"byhand_[A-Za-z0-9]{21}")


class Booking(Struct):
    """What is to be booked."""

    account: Account
    kind: str
    credits: int
    note: str
    once: str


async def form(visit: Visit) -> Response:
    """The form; with `booked` also what was booked last."""
    once = visit.query("booked", 40)
    entry = next(iter(await visit.services.ledger.entries_of(once)), None) if _ONCE.fullmatch(once) else None
    booked = None
    if entry is not None:
        account = await visit.services.accounts.find_account(entry.account_id)
        booked = (entry, account, await visit.services.ledger.balance(account.id))
    return visit.render("booking.html", booked=booked, account=visit.query("account", 100), **_defaults())


async def book(visit: Visit) -> Response:
    """The review of what the form says, or with `confirmed` the booking itself."""
    sent = await read_form(visit)
    try:
        booking = await _read(visit, sent)
        before = await visit.services.ledger.balance(booking.account.id)
        if sent.text("confirmed"):
            await _enter(visit, booking)
            return visit.redirect(f"/operator/book?booked={booking.once}")
        if before.available + booking.credits < 0:
            raise InvalidRequest(f"The account has only {display.rest(before.available)} available.", param="amount")
    except InvalidRequest as error:
        return visit.render(
            "booking.html",
            booked=None,
            **_defaults()
            | {
                "error": error,
                "account": sent.text("account")[:100],
                "kind": sent.text("kind"),
                "amount": sent.text("amount")[:40],
                "note": sent.text("note")[:1000],
            },
        )
    return visit.render("booking_review.html", booking=booking, amount=sent.text("amount"), before=before, kinds=KINDS)


async def _read(visit: Visit, sent: Form) -> Booking:
    try:
        account = await visit.services.accounts.find_account(sent.text("account"))
    except NotFound:
        raise InvalidRequest("There is no account of this name or id.", param="account") from None
    kind = sent.text("kind")
    if kind not in KINDS:
        raise InvalidRequest("Choose what kind of booking it is.", param="kind")
    note = sent.text("note")
    if not note and kind == "adjustment":
        raise InvalidRequest("Say in the note why the balance is corrected.", param="note")
    checked_note(note)
    once = sent.text("once")
    if not _ONCE.fullmatch(once):
        raise InvalidRequest("This form is damaged. Fill it in again.")
    amount = sent.credits("amount", signed=True)
    if amount is None:
        raise InvalidRequest("The amount is in US dollars, such as 25 or 0.50.", param="amount")
    if not amount:
        raise InvalidRequest("The amount is not zero.", param="amount")
    if amount < 0 and kind != "adjustment":
        raise InvalidRequest("Only an adjustment can take credits away.", param="amount")
    return Booking(account, kind, amount, note, once)


async def _enter(visit: Visit, booking: Booking) -> None:
    ledger = visit.services.ledger
    if booking.kind == "adjustment":
        await ledger.adjust(booking.account.id, booking.credits, note=booking.note, once=booking.once)
    else:
        reason: Literal["payment", "bonus"] = "bonus" if booking.kind == "bonus" else "payment"
        note = booking.note or None
        await ledger.grant(booking.account.id, booking.credits, reason=reason, note=note, once=booking.once)


def _defaults() -> dict[str, Any]:
    """An empty form, with a name of its own for the booking that will come of it."""
    return {"error": None, "kind": "payment", "amount": "", "note": "", "kinds": KINDS, "once": f"byhand_{random_text(21)}"}
