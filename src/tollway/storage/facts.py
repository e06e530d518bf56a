"""What can be said of a database."""

from msgspec import Struct


class Facts(Struct, frozen=True):
    software: str
    """Name and version."""
    bytes: int
    """What it takes on the disk."""
