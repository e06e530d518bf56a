"""What a transaction works with: balances, rates, windows and holds, as they were read and as they are being changed."""

from sqlalchemy import Connection

from tollway.admission.idempotency import Answers
from tollway.admission.limits import Concurrency, Rates
from tollway.admission.spend import KeySpend
from tollway.ledger import Books, Hold
from tollway.usage import UsageRecorder

TRANSACTIONS_MAX = 1000
"""So many may use what is known; then it is read again, so that it does not grow without end."""


class State:
    """Of one connection. What it knows may be kept for the connection's next transaction if nobody else has written since.

    After a transaction that failed it must not be: what was changed here did not happen.
    """

    def __init__(self, connection: Connection, version: int = 0) -> None:
        """`version` of the data, for `is_of`."""
        self.connection = connection
        self._version = version
        self.books = Books(connection)
        self.spend = KeySpend(connection)
        self.rates = Rates(connection)
        self.concurrency = Concurrency(connection)
        self.answers = Answers(connection)
        self.usage = UsageRecorder(connection)
        self.holds: dict[str, Hold] = {}
        """Those that are open, as far as they are known."""
        self.transactions = 0

    def is_of(self, connection: Connection, version: int) -> bool:
        """Whether nobody else has written since it was read."""
        return self.connection is connection and self._version == version

    def flush(self) -> None:
        """Writes what was changed; the end of a transaction."""
        self.transactions += 1
        self.books.flush()
        self.spend.flush()
        self.rates.flush()
        self.answers.flush()
        self.usage.flush()
