"""Log probabilities: one entry for each token of the completion, also where the engine's stream leaves one out.

The engine sends an event per token, but none for a token that ends inside a UTF-8 character, and none of the probabilities of
a token that speculation had drafted. Both are found again: which tokens they were from the bytes that are missing, what was
likely in their place by asking the engine for that position once more (its prefix is cached, so that costs one token).
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import msgspec

from tollway.engine import EngineEndpoint, load_vocabulary
from tollway.providers.engine_client import EngineClient, EngineEvent, EngineLogprob, PromptValue, TokenChance
from tollway.wire.chat import VERY_UNLIKELY, TokenLogprob, TopLogprob

# How far down the list a lost token is looked for; beyond this it is "very unlikely".
_CANDIDATES_MAX = 1000


class Vocabulary:
    """The bytes of each token of a model; read from the model's folder at the first request that asks for logprobs."""

    def __init__(self, endpoint: EngineEndpoint) -> None:
        self._endpoint = endpoint

    @cached_property
    def tokens(self) -> Sequence[bytes]:
        return load_vocabulary(self._endpoint)

    @cached_property
    def ends(self) -> frozenset[int]:
        """The tokens that end a turn. They have a name, but are no part of the text."""
        return frozenset(self._endpoint.end_token_ids)

    def size(self, token: int) -> int:
        """How many bytes of text a token is."""
        return 0 if token in self.ends else len(self.tokens[token])

    @cached_property
    def ids(self) -> dict[bytes, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    @cached_property
    def plain_token(self) -> int:
        """Any token that is a complete character: sampling it makes the engine report the position's probabilities."""
        return self.ids[b"a"]

    def segmentations(self, missing: bytes, count: int) -> Iterator[list[int]]:
        """The ways to write `missing` as exactly `count` tokens, longest token first."""
        if count == 0:
            if not missing:
                yield []
            return
        for length in range(len(missing) - count + 1, 0, -1):
            token = self.ids.get(missing[:length])
            if token is not None:
                for rest in self.segmentations(missing[length:], count - 1):
                    yield [token, *rest]


class LogprobCollector:
    """The entries of one choice, in order. `collect` takes each event of the choice and returns the entries it settles."""

    def __init__(self, vocabulary: Vocabulary, top: int, prompt: PromptValue, client: EngineClient) -> None:
        self._vocabulary = vocabulary
        self._top = top
        self._prompt = prompt
        self._client = client
        self._generated: list[int] = []
        self._text = b""  # what the engine has sent
        self._settled = 0  # bytes of the tokens in _generated
        self._waiting: list[tuple[int, EngineEvent]] = []  # (tokens lost before it, event)
        self._seen = 0

    async def collect(self, event: EngineEvent) -> list[TokenLogprob]:
        self._text += event.content.encode()
        if event.stop:
            lost = event.tokens_predicted - self._seen
            return [*await self._settle(at_end=True), *await self._recover(self._text[self._settled :], lost)]
        if not event.tokens:
            return []
        self._waiting.append((event.tokens_predicted - self._seen - 1, event))
        self._seen = event.tokens_predicted
        return await self._settle(at_end=False)

    async def _settle(self, *, at_end: bool) -> list[TokenLogprob]:
        """The entries of waiting events. An event after lost tokens waits until the text that holds them has come."""
        entries: list[TokenLogprob] = []
        while self._waiting:
            lost, event = self._waiting[0]
            if lost:
                known = sum(self._vocabulary.size(later.tokens[0]) for _, later in self._waiting)
                missing = len(self._text) - self._settled - known
                if not at_end and (missing < lost or any(more for more, _ in self._waiting[1:])):
                    break
                entries += await self._recover(self._text[self._settled : self._settled + max(missing, 0)], lost)
            self._waiting.pop(0)
            entries.append(await self._entry(event))
        return entries

    async def _entry(self, event: EngineEvent) -> TokenLogprob:
        token = event.tokens[0]
        if event.completion_probabilities:
            chance = event.completion_probabilities[0]
            entry = self._made(token, chance.logprob, chance.top_logprobs)
        else:
            entry = await self._asked(token)
        self._take(token)
        return entry

    async def _recover(self, missing: bytes, count: int) -> list[TokenLogprob]:
        """Entries of `count` tokens that the stream left out; `missing` are their bytes."""
        entries: list[TokenLogprob] = []
        if count <= 0:
            return entries
        tokens = next(self._vocabulary.segmentations(missing, count), None)
        if tokens is None:  # cut off by a stop sequence in the middle of a character: known to be, not what
            return [TokenLogprob(token="", logprob=VERY_UNLIKELY, bytes=None, top_logprobs=[]) for _ in range(count)]
        for token in tokens:
            entries.append(await self._asked(token))
            self._take(token)
        return entries

    def _take(self, token: int) -> None:
        self._generated.append(token)
        self._settled += self._vocabulary.size(token)

    async def _asked(self, token: int) -> TokenLogprob:
        """The entry of a token from the probabilities at its place, asked for anew."""
        if isinstance(self._prompt, dict):  # with images the engine takes no token ids: what was likely stays unknown
            return self._made(token, VERY_UNLIKELY, [])
        head = self._prompt if isinstance(self._prompt, list) else [self._prompt]
        body = {
            "prompt": [*head, *self._generated],
            "n_predict": 1,
            "n_probs": _CANDIDATES_MAX,
            "logit_bias": [[self._vocabulary.plain_token, 10_000.0]],
            "temperature": 0,
            "response_fields": ["completion_probabilities"],
        }
        answer = await self._client.ask("/completion", body)
        place = msgspec.convert(answer["completion_probabilities"][0], EngineLogprob)
        logprob = next((chance.logprob for chance in place.top_logprobs if chance.id == token), VERY_UNLIKELY)
        return self._made(token, logprob, place.top_logprobs)

    def _made(self, token: int, logprob: float, likeliest: list[TokenChance]) -> TokenLogprob:
        top = []
        for chance in sorted(likeliest[: self._top], key=lambda chance: -chance.logprob):
            text, octets = self._text_of(chance.id)
            top.append(TopLogprob(text, _bounded(chance.logprob), octets))
        text, octets = self._text_of(token)
        return TokenLogprob(text, _bounded(logprob), octets, top)

    def _text_of(self, token: int) -> tuple[str, list[int] | None]:
        r"""A token's text and bytes; bytes that are no text on their own are shown as OpenAI shows them: `\xf0\x9f`.

        The end of a turn has a name and no bytes, so that the entries' bytes together are the answer's text.
        """
        octets = self._vocabulary.tokens[token]
        try:
            text = octets.decode()
        except UnicodeDecodeError:
            text = "".join(f"\\x{octet:02x}" for octet in octets)
        return text, None if token in self._vocabulary.ends else list(octets)


def _bounded(logprob: float) -> float:
    return max(logprob, VERY_UNLIKELY)
