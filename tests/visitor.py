"""A browser without a window: cookies, forms and redirects, against the application itself."""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from starlette.types import ASGIApp
from tests.asgi import Reply, call

Fields = Mapping[str, str | list[str]]

HOST = "tollway.test:8080"
PASSWORD = "correct horse battery staple"


@dataclass
class Visitor:
    """Somebody with a cookie jar. `page` holds the last page."""

    app: ASGIApp
    cookies: dict[str, str] = field(default_factory=dict)
    page: str = ""

    async def get(self, path: str) -> Reply:
        reply = await self._call("GET", path)
        while reply.status == 303:
            reply = await self._call("GET", (reply.header("location") or "").partition("#")[0])
        return reply

    async def post(self, path: str, fields: Fields | None = None, **changes: str) -> Reply:
        """Sends the form of the last page, with its token. `changes` replace headers; redirects are followed."""
        reply = await self.submit(path, {"csrf": self.csrf, **(fields or {})}, **changes)
        return await self.get((reply.header("location") or "").partition("#")[0]) if reply.status == 303 else reply

    async def submit(self, path: str, fields: Fields, **changes: str) -> Reply:
        headers = {"content-type": "application/x-www-form-urlencoded", "origin": f"http://{HOST}"}
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        return await self._call("POST", path, headers, urlencode(fields, doseq=True).encode())

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.page)
        return found[1] if found else "none"

    @property
    def text(self) -> str:
        """The last page as it is read: without tags."""
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", self.page.partition("<main")[2])).split())

    async def _call(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
        sent = {"accept": "text/html", "host": HOST} | (headers or {})
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        reply = await call(self.app, method, path, headers=sent, body=body)
        for name, value in reply.headers:
            if name == "set-cookie":
                cookie, _, rest = value.partition(";")
                key, _, content = cookie.partition("=")
                if "max-age=0" in rest.lower():
                    self.cookies.pop(key, None)
                else:
                    self.cookies[key] = content.strip('"')
        if reply.header("content-type") == "text/html; charset=utf-8":
            self.page = reply.body.decode()
        return reply


async def owner_of(app: ASGIApp, token: str, email: str = "owner@example.org") -> Visitor:
    """The first owner, signed in."""
    visitor = Visitor(app)
    await visitor.get(f"/welcome/{token}")
    reply = await visitor.post(f"/welcome/{token}", {"email": email, "password": PASSWORD, "again": PASSWORD})
    assert reply.status == 200, visitor.text
    return visitor
