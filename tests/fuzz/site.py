"""Every page and every endpoint but the chat itself, with hostile texts in every place where a text goes."""

import asyncio
import contextlib
import itertools
import re
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from hypothesis import strategies as st
from tests.asgi import call
from tests.desks import record as write_log
from tests.desks import recorded
from tests.fuzz.target import Target, World
from tests.fuzz.values import texts
from tests.installation import installed, site_of
from tests.postgres import binaries, running_postgres
from tests.visitor import HOST, PASSWORD, Visitor, owner_of

from tollway.accounts import KeyChanges
from tollway.api.endpoints import ENDPOINTS
from tollway.api.routing import Row
from tollway.api.services import Services
from tollway.settings import DatabaseUrl
from tollway.web.pages import PAGES

T = TypeVar("T")

SECONDS_MAX = 10.0
"""Of computing."""
TEMPLATES = Path(__file__).parents[2] / "src/tollway/web/templates"


@dataclass
class Site:
    """The application with an owner who is signed in, keys, credits and a log."""

    runner: asyncio.Runner
    services: Services
    owner: Visitor
    values: dict[str, str]
    """What stands for `{name}` in the cases: things that exist."""

    def run(self, work: "Coroutine[Any, Any, T]") -> T:
        return self.runner.run(work)

    async def refresh(self) -> None:
        """Makes anew what the cases before may have ended: the session, keys, a row of the log."""
        accounts, account = self.services.accounts, self.values["account"]
        if (await call(self.owner.app, "GET", "/account", headers=self.headers("cookie"))).status != 200:
            await self.owner.get("/signin")
            await self.owner.post("/signin", {"email": "owner@example.org", "password": PASSWORD})
        await self.owner.get("/keys")
        name = f"key {next(_counter)}"
        key = await accounts.create_key(account, settings=KeyChanges(name=name))
        manager = await accounts.create_key(account, kind="management", settings=KeyChanges(name=f"{name}, management"))
        row = recorded(account, key.record.id)
        await write_log(self.services.database, row)
        self.values |= {"key_id": key.record.id, "prefix": key.record.prefix, "secret": key.secret, "manager": manager.secret}
        self.values |= {"request": row.request_id, "csrf": self.owner.csrf}

    def headers(self, proof: str) -> dict[str, str]:
        """With a session's cookie, a key, or nothing."""
        headers = {"host": HOST, "origin": f"http://{HOST}"}
        if proof == "cookie":
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.owner.cookies.items())
        elif proof != "nothing":
            headers["authorization"] = f"Bearer {self.values[proof]}"
        return headers


@contextlib.contextmanager
def site(folder: Path, database_url: DatabaseUrl | None = None) -> Iterator[Site]:
    with asyncio.Runner() as runner:
        opened = installed(folder / "home", signup="open", database_url=database_url)
        services = runner.run(opened.__aenter__())
        try:
            yield runner.run(_furnished(runner, services))
        finally:
            runner.run(opened.__aexit__(None, None, None))


@contextlib.contextmanager
def site_on_postgresql(folder: Path) -> Iterator[Site]:
    binaries_at = binaries()
    assert binaries_at is not None
    with running_postgres(binaries_at) as postgres, site(folder, postgres.new_database()) as here:
        yield here


async def _furnished(runner: asyncio.Runner, services: Services) -> Site:
    await services.accounts.bootstrap()
    token = await services.people.first_owner_link()
    assert token is not None
    owner = await owner_of(site_of(services), token)
    account = await services.accounts.first_account()
    await services.ledger.grant(account.id, 10_000_000)
    here = Site(runner, services, owner, {"model": services.catalog.models[0].id, "account": account.id})
    await here.refresh()
    return here


_counter = itertools.count(1)
_TABLE: tuple[Row, ...] = (*ENDPOINTS, *PAGES)
_ROWS = [(row.method, path) for row in _TABLE for path in row.paths if not path.endswith("/chat/completions")]
_NAMES = sorted(
    {name for file in TEMPLATES.rglob("*.html") for name in re.findall(r'name="([a-z_]+)"', file.read_text(encoding="utf-8"))}
    | {parameter.name for endpoint in ENDPOINTS for parameter in endpoint.parameters}
    | {"range", "booked", "page", "sort", "tz", "cursor"}
)
_THINGS = st.sampled_from(
    ["{key_id}", "{prefix}", "{request}", "{model}", "{account}", "owner@example.org", "1", "2026-11-23", "7d", "all"]
)
_values = texts | _THINGS
_fields = st.lists(st.tuples(st.sampled_from(_NAMES) | texts, _values).map(list), max_size=5)
_proofs = st.sampled_from(["cookie", "cookie", "manager", "secret", "nothing"])

cases = st.fixed_dictionaries(
    {
        "row": st.sampled_from(_ROWS).map(list),
        "path": st.lists(_values, min_size=2, max_size=2),
        "query": _fields,
        "fields": _fields,
        "as": _proofs,
        "page": st.booleans(),
    }
)


def check_site(case: dict[str, Any], world: World) -> None:
    _check(case, world.get(site))


def check_site_on_postgresql(case: dict[str, Any], world: World) -> None:
    _check(case, world.get(site_on_postgresql))


def _check(case: dict[str, Any], here: Site) -> None:
    """No 5xx, no exception, and every page keeps its policy; in seconds."""

    def filled(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: here.values.get(found[1], found[0]), text)

    def pairs(fields: list[list[str]]) -> str:
        return urlencode([(filled(name), filled(value)) for name, value in fields], errors="surrogatepass")

    method, template = case["row"]
    parts = iter(case["path"])
    path = re.sub(r"\{[^}]+\}", lambda _: quote(filled(next(parts)), safe="", errors="surrogatepass"), template)
    target = path + ("?" + pairs(case["query"]) if case["query"] else "")
    headers = here.headers(case["as"]) | {"accept": "text/html" if case["page"] else "*/*"}
    body = b""
    if method != "GET":
        is_page = any(template in row.paths for row in PAGES)
        headers["content-type"] = "application/x-www-form-urlencoded" if is_page else "application/json"
        token = [] if any(name == "csrf" for name, _ in case["fields"]) else [["csrf", "{csrf}"]]
        body = pairs([*token, *case["fields"]]).encode() if is_page else str(dict(map(tuple, case["fields"]))).encode()
    began = time.thread_time()
    reply = here.run(call(here.owner.app, method, target, headers=headers, body=body))
    assert time.thread_time() - began < SECONDS_MAX
    assert reply.status < 500 or (reply.status == 503 and template == "/readyz"), f"{reply.status} {reply.body[:300]!r}"
    if method != "GET" and reply.status < 400:
        here.run(here.refresh())
    if (reply.header("content-type") or "").startswith("text/html"):
        assert "default-src" in (reply.header("content-security-policy") or "")
        reply.body.decode()
    for name, value in reply.headers:
        assert re.fullmatch(r"[a-z0-9-]+", name), name
        assert "\n" not in value, name
        assert "\r" not in value, name


_WHAT = "every page and endpoint, with hostile texts in every place"

TARGETS: tuple[Target, ...] = (Target("site", _WHAT, cases, check_site, 300),)
if binaries() is not None:
    TARGETS += (Target("site-postgresql", f"{_WHAT}; on PostgreSQL", cases, check_site_on_postgresql, 200),)
