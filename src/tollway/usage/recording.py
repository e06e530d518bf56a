"""Writing down what a request used: in one piece in the transaction that settles it, and later where it is looked for."""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from tollway.storage.prepared import insert_into
from tollway.storage.tables import ALL_KEYS, USAGE_SPANS, requests, unfiled_requests, usage_buckets
from tollway.storage.upsert import insert_or_add
from tollway.wire.usage import Origin, Status

BUCKET_SECONDS, HOUR_SECONDS, DAY_SECONDS = USAGE_SPANS

_Place = tuple[str, str, int, int, str]
_PLACE = ("account_id", "key_id", "span", "bucket", "model")


class RequestRecord(Struct, array_like=True):
    """One request that was admitted, as the log shows it. Tokens and credits are integers; never the prompt or the answer.

    Written down by position: a new field goes to the end and has a default, for what an older version left.
    """

    request_id: str
    inference_id: str
    client_request_id: str | None
    account_id: str
    key_id: str | None
    origin: Origin
    model: str
    """The public model that was asked for."""
    answered_by: str
    route: str
    """The upstream that answered, or was tried last."""
    attempts: int
    stream: bool
    status: Status
    finish_reason: str | None
    error_code: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    held: int
    credits: int
    loss: int
    """What the answer cost the operator beyond what was charged."""
    price_version: str
    flags: str | None
    """What was wrong with the usage that the upstream reported, separated by commas."""
    created_at: float
    first_token_ms: int | None
    duration_ms: int


class UsageRecorder:
    """The requests that one transaction ends. They are filed later: see filing.py."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._by_account: dict[str, list[RequestRecord]] = {}

    def add(self, record: RequestRecord) -> None:
        self._by_account.setdefault(record.account_id, []).append(record)

    def flush(self) -> None:
        if not self._by_account:
            return
        rows = [
            (account_id, sum(record.credits for record in records), _encode(records))
            for account_id, records in self._by_account.items()
        ]
        _INSERT_UNFILED(self._connection, rows)
        self._by_account = {}


def write_records(connection: Connection, records: Sequence[RequestRecord]) -> None:
    """Puts requests where they are looked for, and adds them to the sums."""
    _INSERT_REQUEST(connection, [msgspec.structs.astuple(record) for record in records])
    sums: dict[_Place, dict[str, int]] = {}
    for record in records:
        amounts = _amounts(record)
        for place in _places(record):
            total = sums.setdefault(place, dict.fromkeys(amounts, 0))
            for name, amount in amounts.items():
                total[name] += amount
    rows = [dict(zip(_PLACE, place, strict=True)) | total for place, total in sorted(sums.items())]
    insert_or_add(connection, usage_buckets, rows)


_encode = msgspec.msgpack.Encoder().encode
_INSERT_UNFILED = insert_into(unfiled_requests, ("account_id", "credits", "body"))
_INSERT_REQUEST = insert_into(requests, RequestRecord.__struct_fields__)


def _places(record: RequestRecord) -> Iterator[_Place]:
    at = int(record.created_at)
    for key_id in (record.key_id or "", ALL_KEYS):
        for span in USAGE_SPANS:
            yield record.account_id, key_id, span, at // span * span, record.model


def _amounts(record: RequestRecord) -> dict[str, int]:
    return {
        "requests": 1,
        "charged": int(record.credits > 0),
        "succeeded": int(record.status == "succeeded"),
        "failed": int(record.status == "failed"),
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "credits": record.credits,
        "loss": record.loss,
    }
