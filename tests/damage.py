"""A SQLite file in which the disk has done harm."""

import contextlib
import sqlite3
from pathlib import Path


def damage_page(file: Path, table: str) -> None:
    """Overwrites the first page of the table. Nobody may have the file open."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as stream:
        stream.seek((page - 1) * size)
        stream.write(b"damage" * (size // 6))
