"""The keys page: made, shown once, used, disabled, changed, rotated, deleted."""

import html
import re
from pathlib import Path

import pytest
from tests.asgi import call
from tests.installation import installed, site_of
from tests.visitor import Visitor, owner_of

from tollway.accounts import AccountChanges, KeyChanges
from tollway.api.services import Services
from tollway.errors import Unauthorized

NASTY = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "שלום עולם مرحبا",
    "{{ 7*7 }}",
    "'; DROP TABLE api_keys; --",
    "x" * 100,
    "\u200fgnp.exe",
)


async def signed_in(services: Services) -> Visitor:
    token = await services.people.first_owner_link()
    assert token is not None
    return await owner_of(site_of(services), token)


async def works(services: Services, secret: str) -> bool:
    try:
        await services.accounts.authenticate(f"Bearer {secret}")
    except Unauthorized:
        return False
    return True


def secret_in(page: str) -> str:
    found = re.search(r'data-copy-text="(tw_\w{36})"', page)
    assert found, page
    return found[1]


async def test_a_key_that_is_disabled_and_expired_is_called_as_its_callers_are_told(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        owner = await signed_in(services)
        new = await services.accounts.create_key((await services.accounts.first_account()).id)
        await services.accounts.update_key(new.record.id, KeyChanges(enabled=False, expires_at=1.0))
        await owner.get("/keys")
        assert re.findall(r'<span class="badge (\w+)">(\w+)</span>', owner.page) == [("disabled", "disabled")]


async def test_from_making_a_key_to_deleting_it(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        owner = await signed_in(services)
        assert "There are no keys yet" in owner.text

        reply = await owner.post("/keys", {"name": "laptop", "expires": "30"})
        secret = secret_in(owner.page)
        assert reply.header("cache-control") == "no-store"
        assert owner.page.count(secret) > 5, "the first call has the key in it"
        assert await works(services, secret)
        await owner.get("/keys")
        assert secret not in owner.page
        assert "laptop" in owner.text
        (key,) = await services.accounts.list_keys()
        assert "in 30 days" in owner.text

        await owner.post(f"/keys/{key.id}/disable")
        assert 'aria-checked="false"' in owner.page
        assert not await works(services, secret)
        await owner.post(f"/keys/{key.id}/enable")
        assert await works(services, secret)

        await owner.get("/keys")
        assert "It ends now" not in owner.text
        form = {"overlap": "24", "prefix": key.prefix, "csrf": owner.csrf}
        for other in ("", "12"):
            assert (await owner.submit(f"/keys/{key.id}/rotate", form | {"overlap": other})).status == 400
            assert await works(services, secret)
        await owner.submit(f"/keys/{key.id}/rotate", form)
        fresh = secret_in(owner.page)
        assert fresh != secret
        assert (await owner.submit(f"/keys/{key.id}/rotate", form)).status == 409, "the page is reloaded"
        assert await works(services, fresh)
        assert await works(services, secret), "both, for a day"
        await owner.get("/keys")
        assert "Old secret" in owner.text
        assert "The secret before the present one still works. It ends now." in owner.text
        assert (await owner.get(f"/keys/{key.id}/rotate")).status == 200, "back to the key"
        assert 'value="laptop"' in owner.page

        await owner.post(f"/keys/{key.id}/delete")
        assert "There are no keys yet" in owner.text
        assert not await works(services, fresh)
        await owner.get("/keys")
        for action in ("", "/disable", "/rotate", "/delete"):  # still open in another tab
            assert (await owner.post(f"/keys/{key.id}{action}", {"name": "x"})).status == 404
            assert "There is no such key any more" in owner.text
            await owner.get("/keys")


async def test_limits_are_set_and_changed(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        owner = await signed_in(services)
        fields = {
            "name": "ci",
            "expires": "never",
            "spend_limit": "$1,250.50",
            "spend_window": "week",
            "requests_per_minute": "60",
            "which_models": "some",
            "models": "google/gemini-2.5-flash-lite-preview",
        }
        await owner.post("/keys", fields)
        (key,) = await services.accounts.list_keys()
        assert (key.spend_limit_credits, key.spend_window) == (2_501_000_000, "week")
        assert (key.requests_per_minute, key.tokens_per_minute) == (60, None)
        assert key.models == ("google/gemini-2.5-flash-lite-preview",)

        await owner.get("/keys")
        assert "$1,250.50 a week" in owner.text
        await owner.get(f"/keys/{key.id}")
        assert 'value="1,250.50"' in owner.page
        await owner.post(f"/keys/{key.id}", {"name": "ci2", "expires": "keep", "which_models": "all", "tokens_per_minute": "9"})
        (key,) = await services.accounts.list_keys()
        assert (key.name, key.spend_limit_credits, key.models, key.tokens_per_minute) == ("ci2", None, None, 9)


@pytest.mark.parametrize(
    "models", [("smollm2-135m-instruct", "local/smollm2-135m-instruct", "later/model"), ("smollm2-135m-instruct",)]
)
async def test_saving_what_the_page_shows_keeps_the_models(tmp_path: Path, models: tuple[str, ...]) -> None:
    """Also those that the catalogue does not list: other names, and models that are not served at present."""
    async with installed(tmp_path) as services:
        owner = await signed_in(services)
        account = await services.accounts.first_account()
        key = (await services.accounts.create_key(account.id, settings=KeyChanges(name="ci", models=models))).record
        await owner.get(f"/keys/{key.id}")
        assert "smollm2-135m-instruct another name of local/smollm2-135m-instruct" in owner.text
        assert ("later/model not served at present" in owner.text) == ("later/model" in models)
        ticked = re.findall(r'name="models" value="([^"]+)" checked', owner.page)
        assert sorted(ticked) == sorted(models)
        fields: dict[str, str | list[str]] = {"name": "ci2", "expires": "keep", "which_models": "some", "models": ticked}

        assert (await owner.post(f"/keys/{key.id}", fields | {"spend_limit": "a lot", "models": []})).status == 400
        assert all(f'name="models" value="{name}"' in owner.page for name in models), "unticked, and still to be ticked again"
        await owner.post(f"/keys/{key.id}", fields)
        (key,) = await services.accounts.list_keys()
        assert (key.name, sorted(key.models or ())) == ("ci2", sorted(models))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 101),
        ("name", "a\x07b"),
        ("name", "\u202egnp.exe"),
        ("name", "a\u2068b"),
        *(("name", blank) for blank in ("\u200b", "\ufeff", "\u3164", "\u2800", "\u00ad\u0301")),
        ("spend_limit", "NaN"),
        ("spend_limit", "-1"),
        ("spend_limit", "1e99"),
        ("spend_limit", "five"),
        ("spend_limit", "0.00000001"),
        ("spend_limit", "0,50"),
        ("spend_limit", "0,500"),
        ("spend_limit", "1,5"),
        ("spend_limit", "1.000,50"),
        ("spend_limit", "1,00,000"),
        ("requests_per_minute", "1,5"),
        ("requests_per_minute", "1.5"),
        ("requests_per_minute", "٣"),
        ("tokens_per_minute", "9" * 40),
        ("which_models", "some"),
        ("expires", "2"),
        ("spend_window", "year"),
    ],
)
async def test_what_cannot_be_is_said(tmp_path: Path, field: str, value: str) -> None:
    async with installed(tmp_path) as services:
        owner = await signed_in(services)
        fine = {"name": "fine", "expires": "never", "spend_limit": "1", "spend_window": "day"}
        reply = await owner.post("/keys", fine | {field: value})
        assert reply.status == 400, owner.text
        assert 'role="alert"' in owner.page
        assert await services.accounts.list_keys() == []


@pytest.mark.parametrize("value", ["1,5", "0", "1e3", "9" * 12])
async def test_a_limit_that_cannot_be_is_called_what_the_form_calls_it(tmp_path: Path, value: str) -> None:
    async with installed(tmp_path) as services:
        owner = await signed_in(services)
        assert (await owner.post("/keys", {"name": "ci", "concurrency_max": value})).status == 400
        assert "“At the same time” is a whole number from 1 to" in owner.text
        assert "oncurrency" not in owner.text


async def test_a_form_that_is_sent_twice_makes_one_key(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        owner = await signed_in(services)
        token = owner.csrf
        await owner.submit("/keys", {"name": "twice", "csrf": token})
        reply = await owner.submit("/keys", {"name": "twice", "csrf": token})
        assert reply.status == 400
        assert [key.name for key in await services.accounts.list_keys()] == ["twice"]


@pytest.mark.parametrize("name", NASTY)
async def test_names_are_text(tmp_path: Path, name: str) -> None:
    async with installed(tmp_path) as services:
        owner = await signed_in(services)
        await owner.post("/keys", {"name": name})
        (key,) = await services.accounts.list_keys()
        assert key.name == name
        for path in ("/keys", f"/keys/{key.id}"):
            await owner.get(path)
            assert html.escape(name, quote=False) in owner.page.replace("&#34;", '"').replace("&#39;", "'")
            assert "<script>alert" not in owner.page
            assert "<img" not in owner.page
            assert "<bdi>" in owner.page


async def test_the_playground_may_ask_with_a_session(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        owner = await signed_in(services)
        session = await services.people.session(owner.cookies["tollway_session"])
        assert session is not None
        cookie = {"cookie": f"tollway_session={owner.cookies['tollway_session']}"}
        good = cookie | {"host": "tollway.test", "origin": "http://tollway.test", "x-csrf-token": session.csrf}
        app = owner.app

        async def status(headers: dict[str, str], path: str = "/v1/chat/completions") -> int:
            return (await call(app, "POST", path, headers=headers, json_body={"model": 1})).status

        assert await status(good) == 400, "past the door: the body is wrong"
        for name in ("origin", "x-csrf-token", "cookie"):
            assert await status({key: value for key, value in good.items() if key != name}) in {401, 403}
        reply = await call(app, "POST", "/v1/chat/completions", headers=good | {"cookie": "a=b"}, json_body={"model": 1})
        assert reply.json["error"]["code"] == "session_over", "a cookie goes when its time is over, or in another tab"
        assert await status(good | {"origin": "http://evil.test"}) == 403
        assert await status(good | {"x-csrf-token": "0" * 40}) == 403
        assert await status(good | {"cookie": "tollway_session=x"}) == 401
        assert await status(good | {"cookie": good["cookie"] + "; tollway_session=planted"}) == 401
        assert await status(good | {"authorization": "Bearer x"}) == 401, "a key that is sent has to be right"
        caller = await services.people.caller(owner.cookies["tollway_session"], session.csrf)
        assert (caller.origin, caller.key_id) == ("playground", "")


async def test_a_session_calls_under_the_limits_of_its_account(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        owner = await signed_in(services)
        session = await services.people.session(owner.cookies["tollway_session"])
        assert session is not None
        changes = AccountChanges(requests_per_minute=7, low_balance_credits=500)
        await services.accounts.update_account(session.user.account_id, changes)
        caller = await services.people.caller(owner.cookies["tollway_session"], session.csrf)
        assert (caller.account_limits.requests_per_minute, caller.low_balance_credits) == (7, 500)


async def test_what_was_typed_is_kept_when_it_cannot_be(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        owner = await signed_in(services)
        await owner.post("/keys", {"name": "there"})
        (key,) = await services.accounts.list_keys()
        typed: dict[str, str | list[str]] = {
            "name": "there too",
            "expires": "7",
            "spend_limit": "a lot",
            "spend_window": "week",
            "requests_per_minute": "12",
            "which_models": "some",
            "models": ["google/gemini-2.5-flash-lite-preview"],
        }
        for path in ("/keys", f"/keys/{key.id}"):
            await owner.get(path)
            assert (await owner.post(path, typed)).status == 400
            for field in (
                'name="name" required maxlength="100" autocomplete="off" value="there too"',
                '<option value="7" selected>',
                'value="a lot"',
                '<option value="week" selected>',
                'value="12"',
                'value="some" checked',
                'name="models" value="google/gemini-2.5-flash-lite-preview" checked',
                '<details class="more" open>',
            ):
                assert field in owner.page, field
