"""The database: a SQLite file by default, PostgreSQL by URL, reached through SQLAlchemy Core."""

from tollway.storage.database import Database, SchemaError

__all__ = ["Database", "SchemaError"]
