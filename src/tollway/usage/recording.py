"""Writing down what a request used: in one piece in the transaction that settles it, and later where it is looked for."""

from collections.abc import Sequence
from operator import add
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from tollway.storage.prepared import insert_into
from tollway.storage.tables import ALL_KEYS, USAGE_SPANS, requests, unfiled_requests, usage_buckets
from tollway.storage.upsert import insert_or_add
from tollway.wire.usage import Origin, Status

BUCKET_SECONDS, HOUR_SECONDS, DAY_SECONDS = USAGE_SPANS

_PLACE = ("account_id", "key_id", "span", "bucket", "model")
_AMOUNTS = ("requests", "charged", "succeeded", "failed", "prompt_tokens", "completion_tokens", "credits", "loss")


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

    def uncharged(self, code: str) -> "RequestRecord":
        """The same request, failed with that code because it could not be charged: what it cost is the operator's loss."""
        if self.status == "failed":
            return self
        loss = self.loss + self.credits
        return msgspec.structs.replace(self, status="failed", finish_reason=None, error_code=code, credits=0, loss=loss)


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
    alike: dict[tuple[str, str, str, int], list[int]] = {}  # those of one key, model and quarter of an hour go to the same sums
    for record in records:
        group = (record.account_id, record.key_id or "", record.model, int(record.created_at) // BUCKET_SECONDS)
        amounts = _amounts(record)
        alike[group] = list(map(add, alike[group], amounts)) if group in alike else amounts
    sums: dict[tuple[Any, ...], list[int]] = {}
    for (account_id, key_id, model, bucket), amounts in alike.items():
        for keys in (key_id, ALL_KEYS):
            for span in USAGE_SPANS:
                place = (account_id, keys, span, bucket * BUCKET_SECONDS // span * span, model)
                sums[place] = list(map(add, sums[place], amounts)) if place in sums else amounts
    rows = [dict(zip((*_PLACE, *_AMOUNTS), (*place, *amounts), strict=True)) for place, amounts in sorted(sums.items())]
    insert_or_add(connection, usage_buckets, rows)


def decode_records(body: bytes) -> list[RequestRecord]:
    """What `UsageRecorder` has written in one row. Raises msgspec.DecodeError for a damaged one."""
    return _decode(body)


_decode = msgspec.msgpack.Decoder(list[RequestRecord]).decode
_encode = msgspec.msgpack.Encoder().encode
_INSERT_UNFILED = insert_into(unfiled_requests, ("account_id", "credits", "body"))
_INSERT_REQUEST = insert_into(requests, RequestRecord.__struct_fields__)


def _amounts(record: RequestRecord) -> list[int]:
    """In the order of _AMOUNTS."""
    return [
        1,
        int(record.credits > 0),
        int(record.status == "succeeded"),
        int(record.status == "failed"),
        record.prompt_tokens,
        record.completion_tokens,
        record.credits,
        record.loss,
    ]
