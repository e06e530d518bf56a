"""What is wrong with a value, in words that need no Python."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from tollway.plain_words import plain_words


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ("x", int, "must be a whole number, not text"),
        ([1], str | None, "must be text, not a list"),
        (None, bool | float, "must be true or false or a number, not nothing"),
        ("", Annotated[str, Meta(min_length=1)], "must not be empty"),
        ("x", Annotated[str, Meta(min_length=2)], "must be at least 2 characters long"),
        ([1, 2], Annotated[list[int], Meta(max_length=1)], "must be at most 1 entries"),
        (0, Annotated[float, Meta(gt=0)], "must be more than 0"),
        (1.5, Annotated[float, Meta(lt=1.5)], "must be less than 1.5"),
        ("c", Literal["a", "b"], "'c' is no word for it. It may be `a`, `b`"),
        (1, Literal["a"] | None, "must be text, not a whole number. It may be `a`"),
        ("b", Annotated[str, Meta(pattern="^a$")], "that cannot be"),
        (
            "b",
            Annotated[Annotated[str, Meta(pattern="^a$")], Meta(description="The first letter.")],
            "that cannot be. The first letter",
        ),
    ],
)
def test_what_is_wrong_is_told(value: object, kind: Any, words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(value, kind)
    assert plain_words(caught.value, kind) == words
