"""The contract of the key endpoints: the platform's shape, and beyond it models, expiry, rates and rotation.

USD amounts are JSON numbers whose text is read and written exactly; they never pass through a float.
"""

import datetime as dt
import re
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from tollway.errors import InvalidRequest
from tollway.money import USD_MAX, credits_of_usd, exact_usd

KeyKind = Literal["api", "management"]
"""`api` keys ask models; `management` keys manage the account's API keys and ask nothing."""
SpendWindow = Literal["no_reset", "day", "week", "month"]
"""When what a key spent is forgotten: never, or at 00:00 UTC of each day, Monday, or first of the month."""
Scope = Literal[
    "model:chat",
    "model:responses",
    "model:image",
    "model:audio",
    "model:video",
    "model:embeddings",
    "model:speech",
    "model:ocr",
]

NAME_LENGTH_MAX = 100
MODEL_LENGTH_MAX = 200
MODELS_MAX = 100
LIMIT_MAX = 1_000_000_000
OVERLAP_SECONDS = 86_400
"""How long a rotated key's old secret still works, unless told otherwise."""
OVERLAP_SECONDS_MAX = 30 * 86_400

_NUMBER = re.compile(r"-?[0-9][0-9.eE+-]{0,39}")

Time = Annotated[str, Meta(description="RFC 3339, UTC.")]
Usd = Annotated[Raw, Meta(description="US dollars.", extra_json_schema={"type": "number", "minimum": 0, "maximum": USD_MAX})]
KeyName = Annotated[
    str, Meta(min_length=1, max_length=NAME_LENGTH_MAX, description="What the key is for; unique within the account.")
]
ModelName = Annotated[str, Meta(min_length=1, max_length=MODEL_LENGTH_MAX)]
Scopes = Annotated[list[Scope], Meta(min_length=1, description="What the key may be used for; null = everything.")]
Models = Annotated[
    list[ModelName],
    Meta(min_length=1, max_length=MODELS_MAX, description="Ids or aliases of the models that the key may ask; null = all."),
]
Limit = Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="null = no limit.")]
Moment = Annotated[dt.datetime, Meta(tz=True, description="RFC 3339, with its offset from UTC.")]


class KeyLimit(Struct, forbid_unknown_fields=True):
    """The most that a key may spend in one window."""

    retention: Annotated[
        SpendWindow,
        Meta(description="The window: it begins anew at 00:00 UTC of each day, Monday, or first of the month; or never."),
    ]
    threshold: Usd

    @property
    def credits(self) -> int:
        """Raises InvalidRequest for what is no amount of whole credits."""
        text = bytes(self.threshold).decode("ascii", "replace")
        if _NUMBER.fullmatch(text) is None:
            raise InvalidRequest("`limit.threshold` is a number of US dollars.", param="limit.threshold", code="invalid_type")
        try:
            return credits_of_usd(Decimal(text))
        except ValueError as error:
            raise InvalidRequest(f"`limit.threshold`: {error}", param="limit.threshold") from None


class KeyCreate(Struct, kw_only=True, forbid_unknown_fields=True):
    """A key to be made. null = no limit."""

    name: KeyName | None = None
    limit: KeyLimit | None = None
    scopes: Scopes | None = None
    models: Models | None = None
    expires_at: Moment | None = None
    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    concurrency_max: Limit | None = None


class KeyPatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to change of a key; what is left out stays as it is."""

    name: KeyName | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    limit: KeyLimit | UnsetType | None = UNSET
    scopes: Scopes | UnsetType | None = UNSET
    models: Models | UnsetType | None = UNSET
    expires_at: Moment | UnsetType | None = UNSET
    requests_per_minute: Limit | UnsetType | None = UNSET
    tokens_per_minute: Limit | UnsetType | None = UNSET
    concurrency_max: Limit | UnsetType | None = UNSET


class KeyRotate(Struct, forbid_unknown_fields=True):
    """How to replace a key's secret."""

    overlap_seconds: Annotated[
        int,
        Meta(ge=0, le=OVERLAP_SECONDS_MAX, description="How long the old secret still works; 0 ends all older ones at once."),
    ] = OVERLAP_SECONDS


class PreviousSecret(Struct):
    """The secret that the last rotation replaced."""

    prefix: str
    expires_at: Annotated[str, Meta(description="Until then it still works. RFC 3339, UTC.")]


class KeyItem(Struct, kw_only=True):
    """A key, without its secret."""

    name: str
    kind: Annotated[KeyKind, Meta(description="`api` keys ask models, `management` keys manage API keys.")]
    disabled: bool
    prefix: Annotated[str, Meta(description="The first characters of the secret: its name in paths and logs.")]
    scopes: list[Scope] | None
    limit: KeyLimit | None
    created_at: Time
    updated_at: Time
    monthly_usage: Annotated[Usd, Meta(description="Spent since the first of this month, 00:00 UTC, in US dollars.")]
    models: list[str] | None
    expires_at: str | None
    last_used_at: Annotated[str | None, Meta(description="To the minute.")]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency_max: int | None
    previous: PreviousSecret | None


class NewKeyItem(KeyItem, kw_only=True):
    """A key with its secret, which is shown this once."""

    key: str


class KeyAnswer(Struct):
    """A key."""

    data: KeyItem


class NewKeyAnswer(Struct):
    """A new key or a key's new secret."""

    data: NewKeyItem


class KeyList(Struct):
    """The account's API keys, oldest first."""

    data: list[KeyItem]


class DeletedKey(Struct):
    """A key that is no more."""

    prefix: str
    deleted: Literal[True] = True


class DeletedKeyAnswer(Struct):
    """Confirmation."""

    data: DeletedKey


def usd_number(credits_amount: int) -> Raw:
    """The exact JSON number."""
    return Raw(exact_usd(credits_amount).encode())
