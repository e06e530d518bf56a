"""What is installed is what was chosen: every package is pinned and hashed, and there are few of them."""

import re
import tomllib
from pathlib import Path

import pytest
from tests import licences

ROOT = Path(__file__).parents[2]
# A ratchet: raise it only together with a reason in the changelog.
SERVED_PACKAGES_MAX = 70


def _packages(path: Path) -> list[str]:
    """Each requirement with its hashes, as one line."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_every_package_is_pinned_and_hashed(path: Path) -> None:
    packages = _packages(path)
    assert packages
    for line in packages:
        assert re.match(r"^[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+ ", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), line


def test_the_service_needs_few_packages_and_each_dependency_is_locked() -> None:
    locked = {re.split(r"[=\[]", line)[0].lower() for line in _packages(ROOT / "requirements" / "serve.txt")}
    assert len(locked) <= SERVED_PACKAGES_MAX
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[<>=!~;\[ ]", name)[0].lower().replace("_", "-") for name in project["dependencies"]}
    assert wanted <= locked


def test_every_licence_is_one_that_we_accept_and_the_page_lists_them() -> None:
    refused = {
        name: licence
        for name in licences.locked("serve.txt") | licences.locked("otel.txt")
        if not licences.parts_of(licence := licences.licence_of(name)) <= licences.ALLOWED
    }
    assert refused == {}
    assert licences.PAGE.read_text(encoding="utf-8") == licences.page(), "run `python -m tests.licences`"


def test_the_extra_adds_to_what_is_served_and_changes_none_of_it() -> None:
    served, extra = (set(_packages(ROOT / "requirements" / f"{name}.txt")) for name in ("serve", "otel"))
    assert served <= extra
