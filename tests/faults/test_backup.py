"""A backup that is taken under load, put back, and gone on with."""

import time
from pathlib import Path

from tests.faults.load import Load
from tests.faults.mortal import house_in
from tests.faults.reading import charges, open_holds, read, verified

from tollway.settings import DatabaseUrl


def test_a_backup_under_load_is_one_moment_of_a_ledger_that_is_right(
    place: Path | DatabaseUrl, tmp_path: Path, upstream: int
) -> None:
    backup = tmp_path / "backup"
    with house_in(tmp_path / "home", upstream, place) as house:
        house.start()
        with Load(house, clients=4) as load:
            while len(load.told) < 10:
                time.sleep(0.02)
            told_before = list(load.told)
            house.cli("db", "backup", str(backup))
            told_at_its_end = len(load.told)
        assert told_at_its_end > len(told_before), "callers waited for the backup"
        house.stop()
        after_it = set(read(house, charges))

        house.cli("db", "restore", str(backup), "--force")
        charged = read(house, charges)
        assert set(charged) < after_it  # what came after the backup is gone, and nothing else
        assert {answered.inference_id for answered in told_before} <= set(charged)
        read(house, verified)
        assert "right" in house.cli("verify-ledger")

        house.start()  # with the same keys
        assert house.post({"pieces": 3}, max_tokens=50).complete
        if isinstance(place, Path):  # half a minute, which one database is enough for: nobody knows at once that a node is gone
            deadline = time.monotonic() + 90
            while read(house, open_holds):
                assert time.monotonic() < deadline
                time.sleep(1)
        house.stop()
        read(house, verified)
