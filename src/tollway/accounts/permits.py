"""What a caller may do with its key."""

from tollway.accounts.records import Caller
from tollway.catalog import Model
from tollway.errors import Forbidden
from tollway.wire.keys import Scope


def require(caller: Caller, scope: Scope, model: Model) -> None:
    """Raises Forbidden unless the caller's key may use `model` for `scope`. A key may name a model by its id or by an alias."""
    if caller.management:
        raise _forbidden(
            "management",
            f"{caller.key_prefix}... is a management key: it manages API keys and asks no models. Use an API key.",
        )
    if caller.scopes is not None and scope not in caller.scopes:
        raise _forbidden(
            "scope", f"The API key {caller.key_prefix}... lacks the scope `{scope}`; it has {', '.join(sorted(caller.scopes))}."
        )
    if caller.models is not None and model.id not in caller.models and caller.models.isdisjoint(model.aliases):
        allowed = sorted(caller.models)
        shown = ", ".join(allowed[:10]) + (", ..." if len(allowed) > 10 else "")
        raise _forbidden("model", f"The API key {caller.key_prefix}... may not use `{model.id}`; it may use {shown}.", "model")


def _forbidden(reason: str, message: str, param: str | None = None) -> Forbidden:
    return Forbidden(message, param=param, data={"kind": f"err_key_{reason}"})
