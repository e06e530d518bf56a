"""Numbers in, places in a drawing out."""

import pytest

from tollway.web import charts

LABELS = [("1 May", "1 May"), ("2 May", "2 May"), ("3 May", "3 May")]


def test_parts_are_on_top_of_each_other() -> None:
    drawn = charts.stacked(LABELS, [{"a": 12, "b": 24}, {}, {"b": 60}], ["a", "b"], str)
    assert drawn.ticks == ["60.0", "30.0", "0"]
    assert drawn.paths == ["M0.75 100v-20h8.5v20z", "M0.75 80v-40h8.5v40zM20.75 100v-100h8.5v100z"]
    assert [slot.title for slot in drawn.slots] == ["1 May: 36", "2 May: 0", "3 May: 60"]
    assert not drawn.empty


def test_the_scale_is_even_in_the_unit_of_its_readers() -> None:
    drawn = charts.stacked(LABELS, [{"a": 310_000}, {}, {}], ["a"], str, unit=2_000_000)
    assert drawn.ticks[0] == "400000.0"


def test_levels_are_within_each_other() -> None:
    drawn = charts.nested(LABELS, [(100, 150.0), (), (50, 200)], ["half", "most"], str)
    assert drawn.ticks[0] == "200.0"
    assert drawn.paths == ["M0.75 100v-50h8.5v50zM20.75 100v-25h8.5v25z", "M0.75 50v-25h8.5v25zM20.75 75v-75h8.5v75z"]
    assert drawn.slots[0].title == "1 May: half 100, most 150.0"
    assert drawn.slots[1].title == "2 May: no requests"


def test_nothing_is_drawn_of_nothing() -> None:
    assert charts.stacked(LABELS, [{}, {}, {}], [], str).empty
    assert charts.nested(LABELS, [(), (), ()], ["half", "most"], str).empty


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 1), (1, 1), (1.01, 2), (2.5, 4), (4.1, 6), (6.1, 8), (8.1, 10), (10.1, 20), (0.003, 0.004)]
)
def test_a_scale_ends_with_a_round_number_that_is_not_below_the_highest(highest: float, top: float) -> None:
    assert charts.nice_top(highest) == pytest.approx(top)


def test_of_many_names_the_largest_stay_and_the_rest_is_one() -> None:
    totals = {"a": 1, "b": 5, "c": 3, "d": 3}
    assert charts.top_names(totals, 4) == ["b", "c", "d", "a"]
    assert charts.top_names(totals, 3) == ["b", "c", charts.OTHERS]


@pytest.mark.parametrize(
    ("columns", "labelled"), [(1, [0]), (6, [0, 1, 2, 3, 4, 5]), (7, [0, 2, 4, 6]), (24, [0, 4, 8, 12, 16, 20])]
)
def test_labels_stand_at_equal_distances_six_at_the_most(columns: int, labelled: list[int]) -> None:
    drawn = charts.stacked([(f"{n}h", f"hour {n}") for n in range(columns)], [{"a": 1}] * columns, ["a"], str)
    assert [number for number, slot in enumerate(drawn.slots) if slot.label] == labelled
    assert [slot.x for slot in drawn.slots] == [10.0 * n for n in range(columns)]
    assert drawn.width == 10.0 * columns
    assert drawn.slots[-1].title == f"hour {columns - 1}: 1"
