"""An upgrade with data: what older versions left is served, charged and verified by this one."""

import base64
import re
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.faults.mortal import house_in
from tests.faults.reading import charges, open_holds, read, verified

from tollway.storage.tables import SCHEMA_VERSION

OLDER = sorted((Path(__file__).parent / "older").glob("*.sql"))
"""What a version with each older schema of the ledger had written when it was killed in the middle of an answer."""


def unpack(dump: Path, home: Path) -> str:
    """Makes the home that the dump is of; its API key."""
    text = dump.read_text()
    said = dict(re.findall(r"^-- (api_key|secret\.key) (\S+)$", text, re.MULTILINE))
    key, secret = str(said["api_key"]), said["secret.key"]
    home.mkdir()
    (home / "secret.key").write_bytes(base64.b64decode(secret))
    with sqlite3.connect(home / "tollway.db") as database:
        database.executescript(text)
        (node,) = database.execute("SELECT id FROM nodes").fetchone()
    database.close()
    (home / "nodes").mkdir()
    (home / "nodes" / node).touch()  # the dead process was one of this machine
    return key


def rows(connection: sa.Connection) -> tuple[list[str], list[int], int]:
    """The ledger's hashes, the requests' credits, the balance: all in the words of the oldest schema."""
    hashes = connection.execute(sa.text("SELECT hex(hash) FROM ledger_entries ORDER BY account_id, number")).scalars().all()
    spent = connection.execute(sa.text("SELECT credits FROM requests ORDER BY id")).scalars().all()
    return list(hashes), list(spent), connection.execute(sa.text("SELECT posted FROM balances")).scalar_one()


@pytest.mark.parametrize("dump", OLDER, ids=lambda dump: dump.stem)
def test_what_an_older_version_left_is_all_there_and_goes_on(dump: Path, tmp_path: Path, upstream: int) -> None:
    home = tmp_path / "home"
    key = unpack(dump, home)
    with house_in(home, upstream) as house:
        house.key = key
        before, holds_before = read(house, rows), read(house, open_holds)
        assert holds_before == 1
        house.start()
        assert f"schema         {SCHEMA_VERSION}" in house.cli("db", "info", "--check")
        assert house.get("/v2/usage?period=30d")[0] == 200  # which files what is not filed yet
        hashes, spent, posted = read(house, rows)
        assert (hashes[: len(before[0])], spent[: len(before[1])], posted) == before
        assert read(house, open_holds) == 0, "the answer that was in work when it was killed holds credits still"
        answered = house.post({"pieces": 3}, max_tokens=50)
        assert answered.complete
        assert len(read(house, charges)[answered.inference_id]) == 1
        assert "right" in house.cli("verify-ledger")
        assert read(house, verified).charged == sum(spent) + int(answered.headers["x-tollway-credits-used"])
        house.stop()


def test_each_schema_of_the_ledger_is_among_them() -> None:
    first = 3  # the first one with money in it; tests/unit/storage/test_migrations.py has those before
    assert [dump.stem for dump in OLDER] == [f"{version:04}" for version in range(first, int(SCHEMA_VERSION))]
