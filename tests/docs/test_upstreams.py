"""`docs/upstreams.md` lists what there is."""

import re
from pathlib import Path

from tollway.catalog import HINTS, Quirks, shipped_providers

TEXT = (Path(__file__).parents[2] / "docs" / "upstreams.md").read_text(encoding="utf-8")


def first_column(heading: str) -> list[str]:
    """The names in the first column of the table that has this heading."""
    rows = TEXT.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", rows, re.MULTILINE)


def test_every_row_of_the_dialect_is_listed_with_its_key() -> None:
    rows = [row for row in shipped_providers().values() if row.dialect == "openai"]

    assert first_column("name") == [row.name for row in rows]
    for row in rows:
        optional = "" if row.key_required else ", if it has one"
        assert f"| `{row.name}` | `{row.key_variables[0]}`{optional} |" in TEXT
        if port := re.search(r":(\d+)/", row.base_url.removeprefix("http:")):
            assert row.name == "tollway" or f"`{row.key_variables[0]}`, if it has one | port {port[1]}" in TEXT


def test_every_quirk_is_explained() -> None:
    assert first_column("quirk") == list(Quirks.__struct_fields__)
    assert ", ".join(f"`{hint}`" for hint in HINTS) in TEXT
