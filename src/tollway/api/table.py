"""The vocabulary of the table of endpoints: what a row says."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from starlette.types import ASGIApp

from tollway.errors import TollwayError

JSON = "application/json"


class Tag(StrEnum):
    """Groups of endpoints, in the order of the documentation."""

    CHAT = "Chat"
    MODELS = "Models"
    KEYS = "Keys"
    BILLING = "Billing"
    OPERATIONS = "Operations"


class Auth(StrEnum):
    """What a caller must have."""

    NONE = "nothing"
    KEY = "any valid key"
    MANAGEMENT = "a management key"


@dataclass(frozen=True)
class Answer:
    """One way in which an endpoint succeeds."""

    description: str
    media: dict[str, Any] = field(default_factory=dict)
    """Content type -> type of the body, or a tuple of those that it may be."""
    status: int = 200
    headers: tuple[str, ...] = ()
    """Names from `openapi.HEADERS`."""
    examples: dict[str, Any] = field(default_factory=dict)
    """Content type -> example."""


@dataclass(frozen=True)
class Parameter:
    """A query parameter or request header. `many`: it may be repeated."""

    name: str
    description: str
    many: bool = False
    place: str = "query"
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})
    """JSON Schema of a value."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One operation. The first path is its name; the others are aliases."""

    operation: str
    method: str
    paths: tuple[str, ...]
    handler: ASGIApp
    tag: Tag
    summary: str
    auth: Auth
    """There is no default: every row decides."""
    answers: tuple[Answer, ...]
    sessions: bool = False
    """Whether the playground may call it: with a session in the place of a key."""
    description: str = ""
    request: Any = None
    """Type of the JSON body."""
    request_example: Any = None
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[type[TollwayError], ...] = ()

    @property
    def cors(self) -> bool:
        """Pages of any origin may use the API, but what is for the operator's own tools is not theirs to read."""
        return self.tag is not Tag.OPERATIONS
