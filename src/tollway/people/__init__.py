"""People: who may sign in, their sessions, and the one-time links that let them in."""

from tollway.people.links import FIRST_OWNER_SECONDS, INVITATION_SECONDS, RESET_SECONDS, Link
from tollway.people.people import People
from tollway.people.records import Role, Session, User
from tollway.people.sessions import SESSION_SECONDS

__all__ = [
    "FIRST_OWNER_SECONDS",
    "INVITATION_SECONDS",
    "RESET_SECONDS",
    "SESSION_SECONDS",
    "Link",
    "People",
    "Role",
    "Session",
    "User",
]
