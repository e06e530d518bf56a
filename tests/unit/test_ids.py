import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tollway import ids


@pytest.mark.parametrize("make", [ids.request_id, ids.completion_id, ids.tool_call_id])
def test_ids_differ_also_those_that_threads_make_at_once(make: Callable[[], str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make(), range(20_000)))
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"(chatcmpl-|call_)?[0-9A-Za-z]{21,24}", each) for each in made)


def test_a_fork_gives_out_ids_of_its_own() -> None:
    ids.completion_id()  # so that there is a stock to be inherited
    end, start = os.pipe()
    if (child := os.fork()) == 0:
        os.write(start, ids.completion_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(end, 100).decode() != ids.completion_id()
    os.close(end)
    os.close(start)
