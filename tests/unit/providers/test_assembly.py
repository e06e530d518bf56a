"""Generated text into deltas: the same message, however the text was split."""

import json
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollway.providers.assembly import ChoiceAssembler, Mode

CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo \\"}\\\\", "days": [1, {"a": "]"}]}}\n</tool_call>'
ARGUMENTS = '{"city": "Oslo \\"}\\\\", "days": [1, {"a": "]"}]}'


def assemble(text: str, cuts: list[int], *, limited: bool = False, **options: Any) -> tuple[str, str, list[tuple[str, str]]]:
    """(content, reasoning, calls) of a text that arrives cut at these places. `limited`: the token limit has ended it."""
    assembler = ChoiceAssembler(**options)
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    deltas = [delta for begin, end in pairwise(places) for delta in assembler.feed(text[begin:end])]
    deltas += assembler.finish(cut=limited)
    content = "".join(delta.content or "" for delta in deltas)
    reasoning = "".join(delta.reasoning_content or "" for delta in deltas)
    names: list[str] = []
    arguments: list[str] = []
    for delta in deltas:
        for call in delta.tool_calls or ():
            assert call.function
            if call.function.name:
                assert call.id
                assert call.type == "function"
                assert call.index == len(names)
                names.append(call.function.name)
                arguments.append("")
            else:
                assert not call.id
            arguments[call.index] += call.function.arguments or ""
    return content, reasoning, list(zip(names, arguments, strict=True))


cuts = st.lists(st.integers(0, 1000), max_size=30)


@given(cuts)
def test_text_before_calls_and_several_calls(cuts: list[int]) -> None:
    assert assemble(f"I look. {CALL}\n{CALL}", cuts, calls=True) == ("I look. ", "", [("weather", ARGUMENTS)] * 2)
    assert json.loads(ARGUMENTS)["city"] == 'Oslo "}\\'


@given(cuts)
def test_a_forced_call_begins_in_the_prompt(cuts: list[int]) -> None:
    text = CALL.removeprefix('<tool_call>\n{"name": "')

    assert assemble(text, cuts, calls=True, forced_call=True) == ("", "", [("weather", ARGUMENTS)])


@given(cuts)
def test_a_forced_call_of_one_function_begins_with_its_arguments(cuts: list[int]) -> None:
    text = CALL.removeprefix('<tool_call>\n{"name": "weather", "arguments": ')

    result = assemble(text, cuts, calls=True, forced_call=True, forced_name="weather")

    assert result == ("", "", [("weather", ARGUMENTS)])


@given(cuts)
def test_without_tools_the_mark_is_text(cuts: list[int]) -> None:
    assert assemble(CALL, cuts, calls=False) == (CALL, "", [])


@given(cuts)
def test_reasoning_the_model_opens_itself(cuts: list[int]) -> None:
    text = f"\n<think>\nLet me see. 1 < 2</think>\n\nYes. {CALL}"

    result = assemble(text, cuts, calls=True, thinking=Mode.UNDECIDED)

    assert result == ("Yes. ", "Let me see. 1 < 2", [("weather", ARGUMENTS)])


@given(cuts)
def test_reasoning_that_the_prompt_opened(cuts: list[int]) -> None:
    assert assemble("so</thin so</think>\n\nhi", cuts, calls=False, thinking=Mode.REASONING) == ("hi", "so</thin so", [])


@given(cuts)
def test_a_model_that_might_think_but_does_not(cuts: list[int]) -> None:
    assert assemble(" <thin ice", cuts, calls=False, thinking=Mode.UNDECIDED) == (" <thin ice", "", [])


@settings(max_examples=300)
@given(st.text(alphabet="<tool_cal>thinkab \n", max_size=60), cuts)
def test_plain_text_comes_through_unchanged(text: str, cuts: list[int]) -> None:
    if "<tool_call>" not in text:
        assert assemble(text, cuts, calls=True) == (text, "", [])


def test_arguments_are_handed_on_as_they_come_one_entry_in_each_delta() -> None:
    assembler = ChoiceAssembler(calls=True, forced_call=True, forced_name="f")

    deltas = [delta for piece in ('{"a"', ": 1", "}}\n</tool_call>") for delta in assembler.feed(piece)]

    calls = [[call.function.arguments for call in delta.tool_calls or [] if call.function] for delta in deltas]
    assert calls == [[""], ['{"a"'], [": 1"], ["}"]]


def test_a_call_cut_off_by_the_token_limit_keeps_what_there_is() -> None:
    assert assemble('<tool_call>\n{"name": "f", "arguments": {"a": "b', [], calls=True) == ("", "", [("f", '{"a": "b')])


@pytest.mark.parametrize("mark", ["<", "<tool", "<tool_call"])
def test_the_beginning_of_a_mark_is_text_unless_the_token_limit_cut_it(mark: str) -> None:
    assert assemble(f"so {mark}", [], calls=True) == (f"so {mark}", "", [])
    assert assemble(f"so {mark}", [], calls=True, limited=True) == ("so ", "", [])
    assert assemble(f"so {mark}", [], calls=False, limited=True) == (f"so {mark}", "", [])


@pytest.mark.parametrize(("thinking", "text"), [(Mode.UNDECIDED, "<thi"), (Mode.REASONING, "</thi")])
def test_the_beginning_of_a_thoughts_mark_that_the_token_limit_cut_is_none_of_it(thinking: Mode, text: str) -> None:
    assert assemble(text, [], calls=False, thinking=thinking, limited=True) == ("", "", [])


# --- stop sequences ---------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.text(alphabet="ab<\n", max_size=40), st.text(alphabet="ab<\n", min_size=1, max_size=5), cuts)
def test_content_ends_at_a_stop_sequence_however_it_is_split(text: str, stop: str, cuts: list[int]) -> None:
    expected = text.partition(stop)[0]

    assert assemble(text, cuts, calls=True, stop=[stop]) == (expected, "", [])
    assert assemble(text, cuts, calls=False, stop=[stop], limited=True) == (expected, "", [])


@settings(max_examples=300)
@given(
    st.lists(st.text(alphabet="ab\n", max_size=4), max_size=20),
    st.lists(st.text(alphabet="ab\n", min_size=1, max_size=5), max_size=4),
    st.booleans(),
)
def test_of_several_stop_sequences_the_engines_choice_ends_the_content(tokens: list[str], stop: list[str], calls: bool) -> None:
    """After each token, the one that begins first."""
    expected = text = "".join(tokens)
    for read in accumulate(tokens):
        if found := [place for each in stop if (place := read.find(each)) >= 0]:
            expected = read[: min(found)]
            break
    ends = list(accumulate(map(len, tokens)))

    assert assemble(text, ends, calls=calls, stop=stop) == (expected, "", [])


def test_a_stop_sequence_may_lie_within_another() -> None:
    tokens, stop = ["Hello", ",", " I", " am"], ["lo, ", "Hello, I"]  # both are complete with " I"

    assert assemble("".join(tokens), [5, 6, 8], calls=True, stop=stop) == ("", "", [])


@given(cuts)
def test_stop_sequences_mean_nothing_in_thoughts_and_calls(cuts: list[int]) -> None:
    text = f"<think>\nI <look>.</think>\n\nYes. {CALL}\n{CALL}"
    stop = ["\n", "<", "name", "I"]

    result = assemble(text, cuts, calls=True, thinking=Mode.UNDECIDED, stop=stop)

    assert result == ("Yes. ", "I <look>.", [("weather", ARGUMENTS)] * 2)


@given(cuts)
def test_what_could_have_become_a_stop_sequence_is_content_when_a_call_follows(cuts: list[int]) -> None:
    assert assemble(f"Wait. E{CALL}", cuts, calls=True, stop=["END"]) == ("Wait. E", "", [("weather", ARGUMENTS)])


@given(cuts)
def test_no_call_follows_a_stop_sequence(cuts: list[int]) -> None:
    assert assemble(f"One. Two. {CALL}", cuts, calls=True, stop=["Two"]) == ("One. ", "", [])


def test_only_what_could_become_a_stop_sequence_is_held_back() -> None:
    assembler = ChoiceAssembler(calls=False, stop=["abc"])

    given = [[delta.content for delta in assembler.feed(piece)] for piece in ("xa", "b", "d", "ab", "c", "more")]

    assert given == [["x"], [], ["abd"], [], [], []]
    assert assembler.stopped
    assert assembler.finish() == []
