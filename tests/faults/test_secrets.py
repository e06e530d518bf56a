"""No secret is kept or told: after a mixed run database, logs and answers are searched for every secret there is."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.fakes.openai import API_KEY
from tests.faults.mortal import Mortal, house_in
from tests.faults.reading import read

from tollway.settings import DatabaseUrl
from tollway.storage.tables import metadata

PROMPT = "a-prompt-that-nobody-else-may-read"


@pytest.fixture
def house(place: Path | DatabaseUrl, tmp_path: Path, upstream: int) -> Iterator[Mortal]:
    with house_in(tmp_path / "home", upstream, place, workers="2") as house:
        house.start()
        yield house


def _everything(connection: sa.Connection) -> str:
    """All rows of all tables as text."""
    rows = (row for table in metadata.sorted_tables for row in connection.execute(sa.select(table)))
    return "\n".join(repr([bytes(value) if isinstance(value, memoryview) else value for value in row]) for row in rows)


@pytest.mark.timeout(120)
def test_no_secret_is_in_the_database_the_logs_or_an_answer(house: Mortal) -> None:
    key = house.key
    answers: list[bytes] = []
    for script in ({"pieces": 3}, {"fail": "status"}, {"fail": "break"}, {"usage": {"prompt_tokens": -1}}, {"pieces": 0}):
        for stream in (True, False):
            answers += [house.post({**script, "note": PROMPT}, max_tokens=10, stream=stream).body]
    answers.append(house.post({"note": PROMPT}, max_tokens=10, unknown_field=PROMPT, n=0).body)
    answers.append(house.post({"note": PROMPT}, headers={"Authorization": f"Bearer {key[:-1]}x"}).body)
    answers.append(house.post({"note": PROMPT}, headers={"Authorization": key}).body)
    for path in ("/v1/key", "/v1/keys", "/v2/logs", "/v2/usage", "/v1/billing/balance", "/v2/billing/transactions", "/metrics"):
        answers += [house.get(path)[1]]
    stored = read(house, _everything)
    house.stop()
    secrets = [key, API_KEY, (house.home / "secret.key").read_text().strip()]
    if "database_url" in house.settings:
        secrets.append(house.settings["database_url"])
    files = {path: path.read_bytes() for path in house.home.rglob("*") if path.is_file() and path.name != "secret.key"}
    assert files[house.home / "serve.log"]
    for secret in secrets:
        # the first key is shown once, on the terminal, which here is the log; ours was made by the command line
        assert secret not in stored
        for file, content in files.items():
            assert secret.encode() not in content, f"a secret is in {file.name}"
        assert not [answer for answer in answers if secret.encode() in answer]
    assert PROMPT not in stored
    assert not [file for file, content in files.items() if PROMPT.encode() in content]
    assert not [json.loads(answer) for answer in answers[-10:] if PROMPT.encode() in answer]


@pytest.mark.timeout(120)
def test_a_key_is_refused_by_every_worker_within_a_second(house: Mortal) -> None:
    def statuses(count: int) -> list[int]:
        return [house.get("/v1/key")[0] for _ in range(count)]

    assert set(statuses(10)) == {200}  # both workers have it in their caches
    house.cli("keys", "disable", house.key[:12])
    disabled_at = time.monotonic()
    while time.monotonic() < disabled_at + 1.0:
        time.sleep(0.02)
    assert set(statuses(20)) == {401}
