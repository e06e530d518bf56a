"""The tests bite: each bug of the list, put into the code, makes one fail. `SEEDED_BUGS` = all tries them all."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.faults.seeded_bugs import BUGS, ROOT, SOURCE, SeededBug, apply, outcome

TRIED = BUGS if os.environ.get("SEEDED_BUGS") == "all" else BUGS[:1]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_it_applies_and_names_a_test(bug: SeededBug, tmp_path: Path) -> None:
    (tmp_path / "tollway" / bug.file).parent.mkdir(parents=True)
    shutil.copy(SOURCE / "tollway" / bug.file, tmp_path / "tollway" / bug.file)
    apply(bug, tmp_path)
    compile((tmp_path / "tollway" / bug.file).read_text(encoding="utf-8"), bug.file, "exec")
    file, _, test = bug.tests.partition("::")
    assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", TRIED, ids=lambda bug: bug.name)
def test_it_is_caught(bug: SeededBug, record_property: Callable[[str, Any], None]) -> None:
    assert outcome(bug) == "caught"
    record_property("bugs seeded and caught", 1)
