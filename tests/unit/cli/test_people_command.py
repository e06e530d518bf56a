import asyncio
import json
from pathlib import Path

import pytest
from tests.installation import installed, site_of
from tests.visitor import PASSWORD, Visitor, owner_of
from typer.testing import CliRunner, Result

from tollway.cli import app
from tollway.errors import NotFound, Unauthorized

OWNER = "owner@example.org"
NEW = "another horse, another battery"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOLLWAY_HOME", str(tmp_path))
    monkeypatch.setenv("TOLLWAY_PUBLIC_URL", "https://ai.example.org")
    return tmp_path


async def run(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["people", *arguments])


async def test_the_only_owner_gets_back_in_while_the_service_runs(home: Path) -> None:
    async with installed(home) as services:
        token = await services.people.first_owner_link()
        assert token is not None
        elsewhere = await owner_of(site_of(services), token)

        made = json.loads((await run("reset-link", " Owner@Example.org ", "--json")).stdout)
        address, path = made["link"].split("/welcome/")
        assert address == "https://ai.example.org"
        await elsewhere.get("/account")
        assert "Your account" in elsewhere.text, "a link changes nothing before it is used"

        back = Visitor(site_of(services))
        await back.get(f"/welcome/{path}")
        await back.post(f"/welcome/{path}", {"password": NEW, "again": NEW})
        assert "API keys" in back.text
        assert await services.people.sign_in(OWNER, NEW, "::1")
        with pytest.raises(Unauthorized):
            await services.people.sign_in(OWNER, PASSWORD, "::1")
        await elsewhere.get("/account")
        assert "Sign in" in elsewhere.text
        with pytest.raises(NotFound):
            await services.people.link(path)


async def test_people_are_listed(home: Path) -> None:
    async with installed(home) as services:
        token = await services.people.first_owner_link()
        await services.people.sign_up(OWNER, PASSWORD, "::1", token=token)
        await services.people.sign_up("ana@example.org", PASSWORD, "::1", token=await services.people.invite())
        owner, ana = await services.people.list_users()
        await services.people.set_disabled(ana.id, True, by=owner)

        listed = json.loads((await run("list", "--json")).stdout)
        assert [(each["email"], each["role"], each["disabled_at"] is None) for each in listed] == [
            (OWNER, "owner", True),
            ("ana@example.org", "member", False),
        ]
        assert (await services.accounts.find_account(listed[0]["account"])).id == owner.account_id
        table = (await run("list")).stdout.splitlines()
        assert [line.split()[0] for line in table] == ["Email", OWNER, "ana@example.org"]
        assert table[2].rstrip().endswith("no")
        for nobody in ("ana@example.org", "bob@example.org"):
            refused = await run("reset-link", nobody)
            assert (refused.exit_code, refused.stdout) == (1, "")
            assert "nobody with this email address who may sign in" in refused.stderr


async def test_a_link_without_a_public_address_is_for_this_machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOLLWAY_PUBLIC_URL")
    monkeypatch.setenv("TOLLWAY_HOST", "::")
    monkeypatch.setenv("TOLLWAY_PORT", "8090")
    async with installed(home) as services:
        await services.people.sign_up(OWNER, PASSWORD, "::1", token=await services.people.first_owner_link())
        link, told, *_ = (await run("reset-link", OWNER)).stdout.splitlines()
    assert link.startswith("http://[::1]:8090/welcome/")
    assert "works once, for an hour" in told
