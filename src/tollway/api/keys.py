"""The key endpoints: a management key manages the API keys of its account, and any key describes itself.

Management keys are not managed here: one that leaks can then neither lock its owner out nor make more of its kind.
"""

import datetime as dt
from collections.abc import Iterable
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from tollway import clock
from tollway.accounts import ApiKey, Caller, KeyChanges, NewKey
from tollway.api import examples
from tollway.api.chat import read_json_body
from tollway.api.context import context_of
from tollway.api.responses import answer
from tollway.api.routing import responding
from tollway.api.services import Services
from tollway.api.table import JSON, Answer, Auth, Endpoint, Tag
from tollway.errors import NotFound, PayloadTooLarge, RequestTimeout, UnsupportedMediaType
from tollway.wire.decode import decode_body
from tollway.wire.keys import (
    DeletedKey,
    DeletedKeyAnswer,
    KeyAnswer,
    KeyCreate,
    KeyItem,
    KeyLimit,
    KeyList,
    KeyPatch,
    KeyRotate,
    NewKeyAnswer,
    NewKeyItem,
    PreviousSecret,
    usd_number,
)

T = TypeVar("T", bound=Struct)

BODY_BYTES_MAX = 100_000

_create_decoder = msgspec.json.Decoder(KeyCreate)
_patch_decoder = msgspec.json.Decoder(KeyPatch)
_rotate_decoder = msgspec.json.Decoder(KeyRotate)
_LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrency_max")


async def create_key(request: Request, services: Services) -> Response:
    wanted = await _body(request, services, _create_decoder)
    changes = _changes(wanted, UNSET if wanted.name is None else wanted.name, UNSET)
    new = await services.accounts.create_key(_caller(request).account_id, settings=changes)
    return answer(NewKeyAnswer(await _with_secret(services, new)), status=201)


async def list_keys(request: Request, services: Services) -> Response:
    keys = await services.accounts.list_keys(_caller(request).account_id, kind="api")
    return answer(KeyList(await _items(services, keys)))


async def update_key(request: Request, services: Services) -> Response:
    wanted = await _body(request, services, _patch_decoder)
    enabled = UNSET if wanted.disabled is UNSET else not wanted.disabled
    key = await services.accounts.update_key(
        request.path_params["prefix"],
        _changes(wanted, wanted.name, enabled),
        account_id=_caller(request).account_id,
        kind="api",
    )
    return answer(KeyAnswer(*await _items(services, [key])))


async def delete_key(request: Request, services: Services) -> Response:
    prefix = request.path_params["prefix"]
    key = await services.accounts.delete_key(prefix, account_id=_caller(request).account_id, kind="api")
    return answer(DeletedKeyAnswer(DeletedKey(key.prefix)))


async def rotate_key(request: Request, services: Services) -> Response:
    wanted = await _body(request, services, _rotate_decoder)
    new = await services.accounts.rotate_key(
        request.path_params["prefix"],
        overlap_seconds=wanted.overlap_seconds,
        account_id=_caller(request).account_id,
        kind="api",
    )
    return answer(NewKeyAnswer(await _with_secret(services, new)))


async def show_own_key(request: Request, services: Services) -> Response:
    caller = _caller(request)
    key = await services.accounts.find_key(caller.key_id, account_id=caller.account_id)
    return answer(KeyAnswer(*await _items(services, [key])))


def _caller(request: Request) -> Caller:
    return context_of(request.scope).caller


async def _body(request: Request, services: Services, decoder: "msgspec.json.Decoder[T]") -> T:
    headers = dict(request.scope["headers"])
    body = await read_json_body(request.scope, headers, request.receive, BODY_BYTES_MAX, services.settings.receive_seconds)
    return decode_body(body, decoder)


def _changes(wanted: KeyCreate | KeyPatch, name: str | UnsetType, enabled: bool | UnsetType) -> KeyChanges:
    limit, expires_at = wanted.limit, wanted.expires_at
    return KeyChanges(
        name=name,
        enabled=enabled,
        expires_at=expires_at.timestamp() if isinstance(expires_at, dt.datetime) else expires_at,
        scopes=tuple(wanted.scopes) if isinstance(wanted.scopes, list) else wanted.scopes,
        models=tuple(wanted.models) if isinstance(wanted.models, list) else wanted.models,
        spend_limit_credits=limit.credits if isinstance(limit, KeyLimit) else limit,
        spend_window=limit.retention if isinstance(limit, KeyLimit) else limit,
        **{name: getattr(wanted, name) for name in _LIMITS},
    )


async def _items(services: Services, keys: Iterable[ApiKey]) -> list[KeyItem]:
    keys = list(keys)
    usage = await services.usage.monthly([key.id for key in keys])
    return [_item(key, usage.get(key.id, 0)) for key in keys]


async def _with_secret(services: Services, new: NewKey) -> NewKeyItem:
    (item,) = await _items(services, [new.record])
    return NewKeyItem(**msgspec.structs.asdict(item), key=new.secret)


def _item(key: ApiKey, spent_credits: int) -> KeyItem:
    limit, previous = None, None
    if key.spend_limit_credits is not None and key.spend_window is not None:
        limit = KeyLimit(retention=key.spend_window, threshold=usd_number(key.spend_limit_credits))
    if key.previous_prefix is not None and key.previous_expires_at is not None:
        previous = PreviousSecret(key.previous_prefix, clock.iso(key.previous_expires_at))
    return KeyItem(
        name=key.name,
        kind=key.kind,
        disabled=not key.enabled,
        prefix=key.prefix,
        scopes=None if key.scopes is None else list(key.scopes),
        limit=limit,
        created_at=clock.iso(key.created_at),
        updated_at=clock.iso(key.updated_at),
        monthly_usage=usd_number(spent_credits),
        models=None if key.models is None else list(key.models),
        expires_at=None if key.expires_at is None else clock.iso(key.expires_at),
        last_used_at=None if key.last_used_at is None else clock.iso(key.last_used_at),
        previous=previous,
        **{name: getattr(key, name) for name in _LIMITS},
    )


_TAKES_JSON = (PayloadTooLarge, RequestTimeout, UnsupportedMediaType)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        operation="createKey",
        method="POST",
        paths=("/v1/keys",),
        handler=responding(create_key),
        tag=Tag.KEYS,
        summary="Create an API key",
        description="The secret, `key`, is in this answer and nowhere else.",
        auth=Auth.MANAGEMENT,
        request=KeyCreate,
        request_example=examples.KEY_REQUEST,
        answers=(
            Answer(
                "The key and its secret.",
                media={JSON: NewKeyAnswer},
                status=201,
                headers=("cache-control",),
                examples={JSON: examples.NEW_KEY},
            ),
        ),
        errors=_TAKES_JSON,
    ),
    Endpoint(
        operation="listKeys",
        method="GET",
        paths=("/v1/keys",),
        handler=responding(list_keys),
        tag=Tag.KEYS,
        summary="List the API keys, oldest first",
        auth=Auth.MANAGEMENT,
        answers=(Answer("The account's API keys.", media={JSON: KeyList}, headers=("cache-control",)),),
    ),
    Endpoint(
        operation="updateKey",
        method="PATCH",
        paths=("/v1/keys/{prefix}",),
        handler=responding(update_key),
        tag=Tag.KEYS,
        summary="Change, disable or enable an API key",
        description="In force at once in the process that answers, everywhere within a second. What is left out stays; "
        "null = no limit.",
        auth=Auth.MANAGEMENT,
        request=KeyPatch,
        request_example={"disabled": True},
        answers=(Answer("The key as it is now.", media={JSON: KeyAnswer}, headers=("cache-control",)),),
        errors=(NotFound, *_TAKES_JSON),
    ),
    Endpoint(
        operation="deleteKey",
        method="DELETE",
        paths=("/v1/keys/{prefix}",),
        handler=responding(delete_key),
        tag=Tag.KEYS,
        summary="Delete an API key for good",
        auth=Auth.MANAGEMENT,
        answers=(Answer("It is deleted.", media={JSON: DeletedKeyAnswer}, headers=("cache-control",)),),
        errors=(NotFound,),
    ),
    Endpoint(
        operation="rotateKey",
        method="POST",
        paths=("/v1/keys/{prefix}/rotate",),
        handler=responding(rotate_key),
        tag=Tag.KEYS,
        summary="Give an API key a new secret",
        description="The new one works at once, the old one for `overlap_seconds` more. At most two work at a time. "
        "Everything else of the key stays, what it has spent included; its prefix is the new secret's.",
        auth=Auth.MANAGEMENT,
        request=KeyRotate,
        request_example={"overlap_seconds": 3600},
        answers=(Answer("The key and its new secret.", media={JSON: NewKeyAnswer}, headers=("cache-control",)),),
        errors=(NotFound, *_TAKES_JSON),
    ),
    Endpoint(
        operation="showOwnKey",
        method="GET",
        paths=("/v1/key",),
        handler=responding(show_own_key),
        tag=Tag.KEYS,
        summary="Describe the key that this request carries",
        auth=Auth.KEY,
        answers=(Answer("The key.", media={JSON: KeyAnswer}, headers=("cache-control",)),),
    ),
)
