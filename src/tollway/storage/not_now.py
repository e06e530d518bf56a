"""What is told to one that must not wait."""


class NotNow(Exception):
    """Somebody else writes, or the database is far away: a transaction would have to wait."""
