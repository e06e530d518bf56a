"""Many admissions and endings in one transaction: everything that waited while the transaction before was written.

What they need is read once for all of them; each is then decided in memory, in the order in which it came, under the lock of
its account; and everything is written at the end. So the cost of a transaction hardly grows with the number of requests in it.
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from tollway import clock
from tollway.accounts import Caller, Limits
from tollway.admission.limits import Rule, Subject, allowance_headers
from tollway.admission.records import Admitted, Order, Outcome, Replay, Settled
from tollway.admission.spend import Place
from tollway.admission.state import State
from tollway.errors import InsufficientCredits, ServiceUnavailable, SpendLimitReached, TollwayError
from tollway.ledger import Hold
from tollway.storage.prepared import PreparedIn
from tollway.storage.tables import holds, ledger_entries
from tollway.usage import window_start

Command = Order | Outcome
Result = Admitted | Replay | Settled | TollwayError


def run_batch(state: State, commands: Sequence[Command], node_id: str, *, again: bool = False) -> list[Result]:
    """The result of each command, in order; a TollwayError where it is refused, which leaves no trace.

    `again` says that an earlier attempt may have been committed without our hearing of it: what is found done counts as done.
    """
    return _Batch(state, commands, node_id).run(again=again)


class _Batch:
    def __init__(self, state: State, commands: Sequence[Command], node_id: str) -> None:
        self._state = state
        self._books = state.books
        self._open = state.holds
        self._commands = commands
        self._callers: list[Caller] = []
        self._node_id = node_id
        self._now = clock.now()

    def run(self, *, again: bool) -> list[Result]:
        work = self._with_rules()
        self._load(work)
        done = self._already_done() if again else {}
        results: list[Result] = []
        for command, rules in work:
            try:
                if id(command) in done:
                    results.append(done[id(command)])
                elif isinstance(command, Order):
                    results.append(self._admit(command, rules))
                else:
                    results.append(self._finish(command, rules))
            except TollwayError as refusal:
                results.append(refusal)
        self._state.flush()
        return results

    def _with_rules(self) -> list[tuple[Command, list[Rule]]]:
        """Each command with the limits that it is under; those of one key are nearly always the same object's."""
        known: dict[int, list[Rule]] = {}
        work: list[tuple[Command, list[Rule]]] = []
        for command in self._commands:
            caller = _order_of(command).caller
            rules = known.get(id(caller))
            if rules is None:
                rules = known[id(caller)] = rules_of(caller)
                self._callers.append(caller)
            work.append((command, rules))
        return work

    def _load(self, work: Sequence[tuple[Command, Sequence[Rule]]]) -> None:
        """Locks the accounts, and reads what is not known of what the commands will need."""
        state = self._state
        places: list[Place] = []
        named: list[tuple[str, str]] = []
        ending: list[str] = []
        for command in self._commands:
            order = _order_of(command)
            if order.idempotency is not None:
                named.append((order.caller.account_id, order.idempotency.key))
            if isinstance(command, Outcome):
                ending.append(command.admitted.hold.request_id)
            elif (place := self._place(order.caller)) is not None:
                places.append(place)
        accounts = {caller.account_id for caller in self._callers}
        counted_accounts = {each.account_id for each in self._callers if each.account_limits.concurrency_max is not None}
        counted_keys = {each.key_id for each in self._callers if each.limits.concurrency_max is not None}
        self._books.lock(accounts)
        state.rates.load({rule.subject for _, rules in work for rule in rules})
        state.concurrency.load(counted_accounts, counted_keys)
        if recounted := state.spend.load(places):
            self._open = state.holds = {id_: hold for id_, hold in self._open.items() if hold.key_id not in recounted}
        if unknown := [request_id for request_id in ending if request_id not in self._open]:
            self._open |= {row.request_id: Hold(*row) for row in _OPEN_HOLDS(state.connection, unknown).rows}
        holds_ending = (self._open[request_id] for request_id in ending if request_id in self._open)
        state.spend.load(place for hold in holds_ending if (place := _place_of(hold)) is not None)
        state.answers.load(named)

    # --- a request comes ----------------------------------------------------------------------------------------------

    def _admit(self, order: Order, rules: Sequence[Rule]) -> Admitted | Replay:
        """Checks everything first and changes everything after, so that a refusal leaves no trace."""
        caller, now = order.caller, self._now
        if order.idempotency is not None:
            answer = self._state.answers.look_up(caller.account_id, order.idempotency, now)
            if answer is not None:
                return Replay(answer)
        for subject, what, limits in _subjects(caller):
            if limits.concurrency_max is not None:
                self._state.concurrency.check(subject, what, limits.concurrency_max)
        rates = self._state.rates
        taken = [(rule, rates.check(rule, order.tokens if rule.unit == "tokens" else 1, now)) for rule in rules]
        place = self._place(caller)
        credits_held = self._affordable(order, place)

        for rule, full_at in taken:
            rates.put(rule, full_at)
        hold = Hold(order.request_id, caller.account_id, caller.key_id, credits_held, place[1] if place else None)
        self._books.hold(hold, self._node_id, model=order.model, price_version=order.price_version)
        self._open[hold.request_id] = hold
        if place is not None:
            self._state.spend.change(place, held=credits_held)
        for subject in (caller.account_id, caller.key_id):
            self._state.concurrency.change(subject, 1)
        if order.idempotency is not None:
            self._state.answers.begin(caller.account_id, order.idempotency, order.request_id, now)
        return Admitted(order, hold, allowance_headers(taken, now))

    def _affordable(self, order: Order, place: Place | None) -> int:
        """The credits to hold: what the account and the key's own limit leave, up to the order's bound."""
        caller = order.caller
        available = self._books.balance(caller.account_id).available
        left = available
        if place is not None and caller.spend_limit_credits is not None:
            left = min(available, max(0, caller.spend_limit_credits - self._state.spend.used(place)))
        if available < order.credits_min:
            raise InsufficientCredits(needed=order.credits_min, available=available, left=left)
        if left < order.credits_min:
            per = "" if caller.spend_window == "no_reset" else f" a {caller.spend_window}"
            limit = f"{caller.spend_limit_credits:,} credits{per}"
            raise SpendLimitReached(needed=order.credits_min, available=left, limit=limit)
        return min(order.credits, left)

    def _place(self, caller: Caller) -> Place | None:
        if caller.spend_limit_credits is None or caller.spend_window is None:
            return None
        return caller.key_id, window_start(caller.spend_window, self._now)

    # --- and ends -----------------------------------------------------------------------------------------------------

    def _finish(self, outcome: Outcome, rules: Sequence[Rule]) -> Settled:
        admitted, record = outcome.admitted, outcome.record
        caller, hold = admitted.order.caller, self._open.pop(admitted.hold.request_id, None)
        if hold is None:
            if record is not None and _has_expired(self._state.connection, admitted.hold.request_id):
                self._state.usage.add(record.uncharged("hold_expired"))
            raise ServiceUnavailable(
                "The credits held for this request were given back, because this server was out of touch with its database for "
                "too long. The request is not charged; send it again.",
                code="hold_expired",
                retry_after_seconds=1,
            )
        cost = record.credits if record is not None else 0
        charged = min(cost, hold.credits)
        if record is None:
            self._books.resolve("release", hold)
        else:
            if cost != charged or record.held != hold.credits:
                record = msgspec.structs.replace(record, credits=charged, loss=record.loss + cost - charged, held=hold.credits)
            self._books.resolve(
                "settle" if record.status == "succeeded" or charged else "release",
                hold,
                charged=charged,
                loss=record.loss,
                model=record.model,
                reference=record.inference_id,
                price_version=record.price_version,
            )
            self._state.usage.add(record)
        place = _place_of(hold)
        if place is not None:
            self._state.spend.change(place, spent=charged, held=-hold.credits)
        for subject in (caller.account_id, caller.key_id):
            self._state.concurrency.change(subject, -1)
        for rule in rules:
            if rule.unit == "tokens" and outcome.tokens != admitted.order.tokens:
                self._state.rates.correct(rule, outcome.tokens - admitted.order.tokens, self._now)
        if admitted.order.idempotency is not None:
            self._state.answers.end(caller.account_id, admitted.order.idempotency, outcome.answer)
        balance = self._books.balance(caller.account_id)
        return Settled(charged, balance.available, balance.posted)

    # --- after a commit of which nobody knows whether it happened -----------------------------------------------------

    def _already_done(self) -> dict[int, Result]:
        ids = [_order_of(command).request_id for command in self._commands]
        query = sa.select(ledger_entries).where(ledger_entries.c.request_id.in_(ids))
        entries = {(row.request_id, row.kind): row for row in self._state.connection.execute(query)}
        done: dict[int, Result] = {}
        for order in self._commands:
            if not isinstance(order, Order):
                continue
            entry = entries.get((order.request_id, "hold"))
            if entry is not None:
                place = self._place(order.caller)
                hold = Hold(order.request_id, entry.account_id, entry.key_id, entry.held, place[1] if place else None)
                done[id(order)] = Admitted(order, hold, {})
        for outcome in self._commands:
            if not isinstance(outcome, Outcome):
                continue
            request_id = outcome.admitted.hold.request_id
            entry = entries.get((request_id, "settle")) or entries.get((request_id, "release"))
            if entry is not None:
                balance = self._books.balance(entry.account_id)
                done[id(outcome)] = Settled(-entry.posted, balance.available, balance.posted)
        return done


_OPEN_HOLDS = PreparedIn(
    lambda ids: sa.select(*(holds.c[name] for name in Hold.__struct_fields__)).where(holds.c.request_id.in_(ids))
)


def _has_expired(connection: sa.Connection, request_id: str) -> bool:
    """Whether that is what has become of the hold."""
    query = sa.select(ledger_entries.c.number).where(
        ledger_entries.c.request_id == request_id, ledger_entries.c.kind == "expire"
    )
    return connection.execute(query).first() is not None


def rules_of(caller: Caller) -> list[Rule]:
    """The limits per minute that a caller is under."""
    rules: list[Rule] = []
    for subject, what, limits in _subjects(caller):
        if limits.requests_per_minute is not None:
            rules.append(Rule(subject, what, "requests", limits.requests_per_minute))
        if limits.tokens_per_minute is not None:
            rules.append(Rule(subject, what, "tokens", limits.tokens_per_minute))
    return rules


def _subjects(caller: Caller) -> tuple[tuple[str, Subject, Limits], ...]:
    """Who is limited: id, what messages call it, and how much."""
    return ((caller.key_id, "API key", caller.limits), (caller.account_id, "account", caller.account_limits))


def _order_of(command: Command) -> Order:
    return command if isinstance(command, Order) else command.admitted.order


def _place_of(hold: Hold) -> Place | None:
    return None if hold.spend_window is None or hold.key_id is None else (hold.key_id, hold.spend_window)
