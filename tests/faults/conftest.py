from collections.abc import Iterator

import pytest
from tests.faults.mortal import scripted_upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    """The port of an upstream whose callers say what it does."""
    with scripted_upstream() as port:
        yield port
