"""People: who may sign in, their sessions, and the one-time links that let them in."""

from tollway.people.links import FIRST_OWNER_SECONDS, RESET_SECONDS
from tollway.people.people import PLAYGROUND, People
from tollway.people.records import Session, User
from tollway.people.sessions import SESSION_SECONDS

__all__ = [
    "FIRST_OWNER_SECONDS",
    "PLAYGROUND",
    "RESET_SECONDS",
    "SESSION_SECONDS",
    "People",
    "Session",
    "User",
]
