"""Chunks added up to one answer."""

import pytest

from tollway.errors import InternalError
from tollway.wire.chat import ChunkChoice, Delta, FunctionCall, FunctionCallDelta, Logprobs, TokenLogprob, ToolCallDelta
from tollway.wire.folding import Fold, in_legacy_shape


def _token(text: str) -> TokenLogprob:
    return TokenLogprob(text, -0.5, list(text.encode()), [])


def test_a_refusal_keeps_its_logprobs() -> None:
    fold = Fold()
    fold.add(ChunkChoice(0, Delta(refusal="I "), logprobs=Logprobs([], [_token("I ")])))
    fold.add(ChunkChoice(0, Delta(refusal="won't"), logprobs=Logprobs([], [_token("won't")])))
    fold.add(ChunkChoice(0, Delta(), finish_reason="stop"))
    choice = fold.choice(0)
    assert choice.message.refusal == "I won't"
    assert choice.logprobs == Logprobs([], [_token("I "), _token("won't")])


def test_logprobs_are_those_of_the_text_in_order_and_none_where_there_are_none() -> None:
    fold, other = Fold(), Fold()
    for piece in "abc":
        fold.add(ChunkChoice(0, Delta(content=piece), logprobs=Logprobs([_token(piece)])))
        other.add(ChunkChoice(1, Delta(content=piece)))
    for each in (fold, other):
        each.add(ChunkChoice(0, Delta(), finish_reason="stop"))
    assert fold.choice(0).logprobs == Logprobs([_token("a"), _token("b"), _token("c")])
    assert other.choice(1).logprobs is None


def test_a_choice_without_an_end_is_no_answer() -> None:
    fold = Fold()
    fold.add(ChunkChoice(0, Delta(content="a")))
    with pytest.raises(InternalError):
        fold.choice(0)


def test_the_pieces_of_calls_are_put_together() -> None:
    fold = Fold()
    fold.add(ChunkChoice(0, Delta(tool_calls=[ToolCallDelta(0, "c0", "function", FunctionCallDelta("f", '{"a"'))])))
    fold.add(ChunkChoice(0, Delta(tool_calls=[ToolCallDelta(1, "c1", "function", FunctionCallDelta("g"))])))
    fold.add(
        ChunkChoice(0, Delta(tool_calls=[ToolCallDelta(0, function=FunctionCallDelta(arguments=":1}")), ToolCallDelta(1)]))
    )
    fold.add(ChunkChoice(0, Delta(), finish_reason="tool_calls"))
    message = fold.choice(0).message
    assert message.content is None
    calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    assert calls == [("c0", "f", '{"a":1}'), ("c1", "g", "")]


def test_a_call_in_its_legacy_shape() -> None:
    fold = Fold()
    for function in (FunctionCallDelta("f"), FunctionCallDelta(arguments='{"a"'), FunctionCallDelta(arguments=":1}")):
        fold.add(in_legacy_shape(ChunkChoice(0, Delta(tool_calls=[ToolCallDelta(0, function=function)]))))
    fold.add(in_legacy_shape(ChunkChoice(0, Delta(), finish_reason="tool_calls")))
    choice = fold.choice(0)
    assert (choice.finish_reason, choice.message.tool_calls, choice.message.content) == ("function_call", None, None)
    assert choice.message.function_call == FunctionCall("f", '{"a":1}')


def test_what_is_no_call_has_no_other_shape() -> None:
    choice = ChunkChoice(0, Delta(content="a"), finish_reason="stop")
    assert in_legacy_shape(choice) is choice
