"""Generated text into deltas: the same message, however the text was split."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tollway.providers.assembly import ChoiceAssembler, Mode

CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo \\"}\\\\", "days": [1, {"a": "]"}]}}\n</tool_call>'
ARGUMENTS = '{"city": "Oslo \\"}\\\\", "days": [1, {"a": "]"}]}'


def assemble(text: str, cuts: list[int], **options: Any) -> tuple[str, str, list[tuple[str, str]]]:
    """(content, reasoning, calls) of a text that arrives cut at these places."""
    assembler = ChoiceAssembler(**options)
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    deltas = [delta for begin, end in pairwise(places) for delta in assembler.feed(text[begin:end])]
    deltas += assembler.finish()
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
