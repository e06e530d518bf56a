"""Chunks added up to one answer."""

from tollway.wire.chat import ChunkChoice, Delta, Logprobs, TokenLogprob
from tollway.wire.folding import Fold


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
