import resource
import subprocess
import sys

import pytest

from tollway.server import connections_that_fit

REAL = """
import resource
from tollway.server import connections_that_fit
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024))
print(connections_that_fit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_limit_of_open_files_is_raised() -> None:
    said = subprocess.run([sys.executable, "-c", REAL], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["384", "1024", "1024"]


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "raised_to"),
    [
        (64, 64, 16, None),
        (1024, 1024, 384, None),
        (1024, 2048, 896, 2048),
        (1024, 65_536, 16_384, 33_024),
        (1024, resource.RLIM_INFINITY, 16_384, 33_024),
        (40_000, 65_536, 16_384, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 16_384, None),
    ],
)
def test_as_far_as_need_be(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, connections: int, raised_to: int | None
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    assert connections_that_fit() == connections
    assert raised == ([] if raised_to is None else [(raised_to, hard)])
