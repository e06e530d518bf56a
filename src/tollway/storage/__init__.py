"""The database: SQLite by default, reached through SQLAlchemy Core so that another one can be named by URL."""

from tollway.storage.database import Database, SchemaError

__all__ = ["Database", "SchemaError"]
