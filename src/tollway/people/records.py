"""What the rest of Tollway sees of people. Times are seconds since the epoch."""

from typing import Literal

from msgspec import Struct

Role = Literal["owner", "member"]
"""`owner`: runs this installation. `member`: uses their account."""


class User(Struct, frozen=True):
    """A person who can sign in."""

    id: str
    account_id: str
    email: str
    role: Role
    created_at: float
    last_login_at: float | None
    disabled_at: float | None = None
    """Since when they may not sign in; None = they may."""


class Session(Struct, frozen=True):
    """A person who is signed in: the proof that a cookie was checked, as a value."""

    user: User
    account_name: str
    csrf: str
    """Every form and every call of a script carries it; another site cannot know it."""
