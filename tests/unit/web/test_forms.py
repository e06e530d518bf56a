"""What people type into the fields of forms, as numbers."""

import pytest

from tollway.errors import InvalidRequest
from tollway.money import CREDITS_MAX
from tollway.web.forms import Form


def form(text: str) -> Form:
    return Form({"field": [text]})


@pytest.mark.parametrize(
    ("typed", "credits_typed"),
    [
        ("", None),
        (" ", None),
        ("25", 50_000_000),
        ("$1,000.50", 2_001_000_000),
        ("1,000,000", 2_000_000_000_000),
        (".5", 1_000_000),
        ("5.", 10_000_000),
        ("0.0000005", 1),
        ("1000000000", CREDITS_MAX),
        ("-0.25", -500_000),
        ("\N{MINUS SIGN}$3", -6_000_000),
    ],
)
def test_an_amount_is_taken_as_it_is_typed(typed: str, credits_typed: int | None) -> None:
    assert form(typed).credits("field", signed=True) == credits_typed


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        *(
            (typed, "is in US dollars, such as")
            for typed in ("x", "0,50", "10,00.5", "1,0000", "1e5", "1_0", "nan", "inf", "--3")
        ),
        *((typed, "is in US dollars, such as") for typed in ("\N{ARABIC-INDIC DIGIT FIVE}", "25 EUR", ".", "-")),
        ("0.00000051", "is a multiple of 0.0000005"),
        ("1000000000.1", "is 0 to 1,000,000,000 US dollars"),
        ("9" * 5_000, "is 0 to 1,000,000,000 US dollars"),
        ("-1", "is not below zero"),
    ],
)
def test_an_amount_that_cannot_be_is_refused(typed: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as caught:
        form(typed).credits("field")
    assert caught.value.param == "field"


@pytest.mark.parametrize(("typed", "number"), [("", None), ("1", 1), (" 1,000 ", 1000), ("2000", 2000)])
def test_a_whole_number(typed: str, number: int | None) -> None:
    assert form(typed).number("field", "Requests", 2000) == number


@pytest.mark.parametrize("typed", ["0", "2001", "-1", "1.5", "1e3", "x", "\N{SUPERSCRIPT TWO}", "9" * 5_000, "1,00"])
def test_what_is_no_whole_number_within_bounds(typed: str) -> None:
    with pytest.raises(InvalidRequest, match="“Requests” is a whole number from 1 to 2,000") as caught:
        form(typed).number("field", "Requests", 2000)
    assert caught.value.param == "field"


def test_of_a_field_that_came_twice_the_first_counts_and_only_secrets_keep_their_blanks() -> None:
    sent = Form({"field": [" a ", "b"]})
    assert (sent.text("field"), sent.secret("field"), sent.all("field")) == ("a", " a ", [" a ", "b"])
    assert (sent.text("none"), sent.secret("none"), sent.all("none")) == ("", "", [])
