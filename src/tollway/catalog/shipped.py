"""The rows that come with Tollway."""

import functools
import tomllib
from importlib import resources
from typing import Any


@functools.cache
def shipped(file: str) -> dict[str, Any]:
    """A TOML file of this package. Not to be changed: all get the same one."""
    return tomllib.loads(resources.files(__package__).joinpath(file).read_text(encoding="utf-8"))
