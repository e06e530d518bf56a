"""The vocabulary of the table of pages: what a row says."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import ASGIApp

from tollway.api.table import Auth
from tollway.web.frame import page_app

if TYPE_CHECKING:
    from tollway.web.frame import Visit

Answer = Callable[["Visit"], Awaitable[Response]]


class Access(StrEnum):
    """Who may see a page."""

    PUBLIC = "public"
    PERSON = "person"
    """Whoever is signed in."""
    OWNER = "owner"


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page, or what one of its forms does. Routing reads it as it reads an Endpoint."""

    name: str
    paths: tuple[str, ...]
    answer: Answer
    access: Access
    """There is no default: every row decides."""
    method: str = "GET"
    alone: bool = False
    """It is the same for everybody, so nobody is asked who they are."""
    auth: Auth = field(default=Auth.NONE, init=False)
    """Pages know people by their session, never by an API key."""
    sessions: bool = field(default=False, init=False)
    cors: bool = field(default=False, init=False)
    """No other site may read a page."""

    @cached_property
    def handler(self) -> ASGIApp:
        return page_app(self.answer, self.access, alone=self.alone)
