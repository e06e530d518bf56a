"""The database: SQLite by default."""
