"""What accounts and keys may be called and limited to. Each check raises InvalidRequest naming the field."""

import unicodedata
from collections.abc import Iterable
from typing import get_args

from msgspec import UNSET, Struct, UnsetType, structs

from tollway.accounts.records import AccountChanges, KeyChanges
from tollway.errors import InvalidRequest
from tollway.money import CREDITS_MAX
from tollway.storage.texts import is_storable
from tollway.wire.keys import LIMIT_MAX, MODEL_LENGTH_MAX, MODELS_MAX, NAME_LENGTH_MAX, Scope, SpendWindow

TIME_MAX = 7_258_118_400.0
"""The year 2200."""
_DIRECTIONS = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))
"""Unicode's embeddings, overrides and isolates; letters of any direction are none of them."""
_BLANKS = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and symbols by their category, and yet nothing is drawn."""
SCOPES: tuple[str, ...] = get_args(Scope)


def checked_name(name: str) -> str:
    """The name without blanks around it."""
    name = name.strip()
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        raise InvalidRequest(f"A name has 1 to {NAME_LENGTH_MAX} characters.", param="name")
    refuse_control_characters(name, "name")
    if any(unicodedata.bidirectional(character) in _DIRECTIONS for character in name):
        raise InvalidRequest("A name has no characters that turn the direction of what follows.", param="name")
    if all(unicodedata.category(character)[0] in "CMZ" or character in _BLANKS for character in name):
        raise InvalidRequest("A name has a character that can be seen.", param="name")
    return name


def checked_account(changes: AccountChanges) -> dict[str, object]:
    """The columns to write."""
    _check_limits(changes)
    if isinstance(changes.low_balance_credits, int) and not 0 <= changes.low_balance_credits <= CREDITS_MAX:
        raise InvalidRequest(f"`low_balance_credits` is 0 to {CREDITS_MAX:,}.", param="low_balance_credits")
    return _given(changes)


def checked_key(changes: KeyChanges) -> dict[str, object]:
    """The columns to write, but for the JSON that `scopes` and `models` are stored as."""
    _check_limits(changes)
    if (changes.spend_limit_credits is UNSET) != (changes.spend_window is UNSET) or (
        (changes.spend_limit_credits is None) != (changes.spend_window is None)
    ):
        raise InvalidRequest("A spend limit needs both an amount and a window.", param="limit")
    _check_range(changes.spend_limit_credits, "limit.threshold", 0, CREDITS_MAX)
    if changes.spend_window not in (*get_args(SpendWindow), None, UNSET):
        raise InvalidRequest(f"The window is one of {', '.join(get_args(SpendWindow))}.", param="limit.retention")
    if isinstance(changes.expires_at, float | int) and not 0 <= changes.expires_at <= TIME_MAX:
        raise InvalidRequest("The time at which a key expires is before the year 2200, or null for never.", param="expires_at")
    values = _given(changes)
    if isinstance(changes.scopes, tuple):
        values["scopes"] = _checked_scopes(changes.scopes)
    if isinstance(changes.models, tuple):
        values["models"] = _checked_models(changes.models)
    return values


def _given(changes: Struct) -> dict[str, object]:
    values = {name: value for name, value in structs.asdict(changes).items() if value is not UNSET}
    if isinstance(values.get("name"), str):
        values["name"] = checked_name(values["name"])
    return values


def _check_limits(changes: AccountChanges | KeyChanges) -> None:
    for name in ("requests_per_minute", "tokens_per_minute", "concurrency_max"):
        _check_range(getattr(changes, name), name, 1, LIMIT_MAX)


def _check_range(value: int | UnsetType | None, param: str, least: int, most: int) -> None:
    if isinstance(value, int) and not least <= value <= most:
        raise InvalidRequest(f"`{param}` is {least:,} to {most:,}, or null for no limit.", param=param)


def _checked_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """In the order of the documentation, each once."""
    for position, scope in enumerate(scopes):
        if scope not in SCOPES:
            raise InvalidRequest(f"A scope is one of {', '.join(SCOPES)}.", param=f"scopes[{position}]")
    if not scopes:
        raise InvalidRequest("A key with no scope can do nothing: leave `scopes` out, or null, for all.", param="scopes")
    return tuple(scope for scope in SCOPES if scope in scopes)


def _checked_models(models: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order that was given. They need not be served now: models come and go."""
    kept = tuple(dict.fromkeys(models))
    if not 1 <= len(kept) <= MODELS_MAX:
        raise InvalidRequest(f"A key names 1 to {MODELS_MAX} models; leave `models` out, or null, for all.", param="models")
    for position, model in enumerate(kept):
        param = f"models[{position}]"
        if not 1 <= len(model) <= MODEL_LENGTH_MAX or model != model.strip():
            raise InvalidRequest(f"A model's id has 1 to {MODEL_LENGTH_MAX} characters, without blanks around.", param=param)
        refuse_control_characters(model, param)
    return kept


def refuse_control_characters(text: str, param: str) -> None:
    """Raises InvalidRequest for a text that no query may carry."""
    if not is_storable(text):
        raise InvalidRequest(f"`{param}` has no control characters.", param=param)
