"""The embedded model: a chat request as one llama.cpp completion, constrained so that every parameter holds.

The engine's own chat endpoint is not used: it does not enforce forced calls, counts one choice of several, and reads marks in
the caller's text as the template's. So the template alone is asked of it (`template.py`); the prompt, the grammar and the
reading of the answer are ours.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any

import msgspec

from tollway.catalog import HINTS, Route
from tollway.engine import EngineEndpoint
from tollway.errors import ContextLengthExceeded, InvalidRequest, RateLimited
from tollway.providers.assembly import THINK_CLOSING, THINK_OPENING, ChoiceAssembler, Mode
from tollway.providers.base import Item, Meter, Take, hand_on
from tollway.providers.capabilities import check_capabilities, left_out_without_openai
from tollway.providers.constraint import Constraint, constraint_for
from tollway.providers.conversation import call_beginning, callable_tools, forced_name, must_call, plain_messages
from tollway.providers.engine_client import EngineClient, PromptValue, context_exceeded
from tollway.providers.generation import SEED_MODULUS, ChoiceStream, Prompt, generate, generate_bounded, usage_of
from tollway.providers.images import ImageLoader
from tollway.providers.template import Templates
from tollway.providers.token_logprobs import LogprobCollector, Vocabulary
from tollway.wire.chat import ChatRequest, images_of, text_of

# What a request gets that names neither temperature nor top_p. Small models ramble at OpenAI's default of 1.0; a caller who
# names either gets exactly that and no further truncation.
DEFAULT_SAMPLING = {"temperature": 0.7, "top_p": 0.95, "top_k": 40, "min_p": 0.05}
# No tokenizer makes so few tokens of a text that says anything.
BYTES_PER_TOKEN_MAX = 32
# Reasoning tokens before the thought is closed for the model; the figures of Google's own OpenAI layer.
REASONING_BUDGETS = {"minimal": 512, "low": 1024, "medium": 8192, "high": 24576}

_TOKENS_MAX = 2**31 - 1
_PLACEHOLDER = re.compile("\ue000([0-9]+)\ue001")


class LocalProvider:
    """The provider of all models embedded on this machine. One instance serves one process."""

    def __init__(self, endpoints: Iterable[EngineEndpoint], image_loader: ImageLoader, *, workers: int) -> None:
        self._engines = {endpoint.model: _Engine(endpoint, EngineClient(endpoint), workers) for endpoint in endpoints}
        self._images = image_loader

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        """See Provider. Compiles the constraint, so that a schema that cannot be enforced fails before anything is held."""
        check_capabilities(request, route)
        _check_length(request, route.context_tokens)
        _check_biases(request, self._engines[route.upstream_model].vocabulary)
        constraint_for(request)
        ignored = [name for name in HINTS if name != "prediction" and getattr(request, name) is not None]
        if request.reasoning_effort is not None and "reasoning" not in route.capabilities:
            ignored.append("reasoning_effort")
        if request.prediction is not None and not _prediction_is_in_conversation(request):
            ignored.append("prediction")
        if any(image.detail in {"low", "high"} for _, image in images_of(request)):
            ignored.append("messages.content.image_url.detail")
        return ignored + left_out_without_openai(request)

    async def health(self) -> dict[str, bool]:
        """Which engines answer, by model."""
        answers = await asyncio.gather(*(engine.client.healthy() for engine in self._engines.values()))
        return dict(zip(self._engines, answers, strict=True))

    async def answer(self, request: ChatRequest, route: Route, meter: Meter, take: Take) -> None:
        """See Provider. More choices than the engine has slots are made in groups, one after the other."""
        await hand_on(self._items(request, route, meter), take)

    async def _items(self, request: ChatRequest, route: Route, meter: Meter) -> AsyncGenerator[Item]:
        engine = self._engines[route.upstream_model]
        slots = engine.endpoint.slots
        places = min(request.choices_count, slots)
        engine.admit(places)
        try:
            constraint = constraint_for(request)
            prompt = await self._render(engine, request, constraint)
            limit = await engine.room(prompt, route, route.output_limit(request.output_tokens_max))
            body = _completion_body(engine.endpoint, request, prompt, constraint, limit)
            budget = REASONING_BUDGETS.get(request.reasoning_effort or "") if prompt.thinking is Mode.REASONING else None
            choices = [_choice(engine, request, prompt, index, meter) for index in range(request.choices_count)]
            for first in range(0, request.choices_count, slots):
                meter.rounds += first > 0
                group = choices[first : first + slots]
                body["n_cmpl"] = len(group)
                if request.seed is not None:
                    body["seed"] = (request.seed + first) % SEED_MODULUS
                chunks = (
                    generate(engine.client, body, group)
                    if budget is None
                    else generate_bounded(engine.client, body, group, budget=budget)
                )
                async with aclosing(chunks):
                    async for chunk in chunks:
                        yield chunk
            yield usage_of(choices, predicted=request.prediction is not None)
        finally:
            engine.busy -= places

    async def _render(self, engine: "_Engine", request: ChatRequest, constraint: Constraint) -> Prompt:
        """The conversation through the model's own template, with the caller's text kept from being read as its marks."""
        pictures = [await self._images.load(image.url, param=param) for param, image in images_of(request)]
        shielded: list[str] = []
        messages = plain_messages(
            request, image_mark=engine.endpoint.image_mark, shield=lambda text: _shield(text, engine.marks, shielded)
        )
        # A thought before constrained text would not fit its grammar.
        thinks = engine.endpoint.thinks and not constraint.from_start and request.reasoning_effort != "none"
        text = await engine.templates.render(messages, thinks=thinks)

        thinking = Mode.CONTENT
        if engine.endpoint.thinks:
            opened = text.rstrip().endswith(THINK_OPENING)
            if thinks:
                thinking = Mode.REASONING if opened else Mode.UNDECIDED
            elif opened:
                text = f"{text.rstrip()}\n\n{THINK_CLOSING}\n\n"
        text += call_beginning(request)
        end_marks = sum(text.count(mark) for mark in engine.endpoint.end_tokens)
        if pictures:
            # With images the engine takes no token ids; a zero-width space makes a mark of the caller's plain text.
            restored = _PLACEHOLDER.sub(lambda match: _broken(shielded[int(match[1])]), text)
            return Prompt({"prompt_string": restored, "multimodal_data": pictures}, thinking, end_marks)
        return Prompt(await engine.unshielded(text, shielded) if shielded else text, thinking, end_marks)


class _Engine:
    """One engine as this process sees it."""

    def __init__(self, endpoint: EngineEndpoint, client: EngineClient, workers: int) -> None:
        self.endpoint = endpoint
        self.client = client
        self.templates = Templates(client)
        self.busy = 0
        # Workers do not know of each other: each admits its share, and at least one full set of slots.
        self._busy_max = max(endpoint.slots, (endpoint.slots + endpoint.queue_max) // workers)
        self.vocabulary = Vocabulary(endpoint)
        self.marks = re.compile("|".join(map(re.escape, [*endpoint.special_tokens, "\ue000"])))
        self._mark_tokens: dict[str, list[int]] = {}

    def admit(self, places: int) -> None:
        """Takes places among the engine's slots and queue, or raises RateLimited."""
        if self.busy + places > self._busy_max:
            raise RateLimited(
                f"The model `{self.endpoint.model}` has {self.busy} answers in work or waiting, which is all it takes. "
                "Try again in a moment.",
                retry_after_seconds=2,
                code="engine_busy",
            )
        self.busy += places

    async def room(self, prompt: Prompt, route: Route, limit: int | None) -> int | None:
        """The limit for the answer to this prompt, where the route has less context than the engine, which keeps to its own.
        Raises ContextLengthExceeded when there is no room for any.
        """
        if route.context_tokens >= self.endpoint.context_tokens:
            return limit
        tokens = await self.client.prompt_tokens(prompt.value)
        if tokens >= route.context_tokens:
            raise context_exceeded(tokens, route.context_tokens)
        left = route.context_tokens - tokens
        return left if limit is None else min(limit, left)

    async def unshielded(self, text: str, shielded: list[str]) -> list[str | int]:
        """The prompt as text and token ids in turn: the caller's marks become the tokens of their letters."""
        pieces: list[str | int] = []
        for position, piece in enumerate(_PLACEHOLDER.split(text)):
            if position % 2 == 0:
                pieces.extend([piece] if piece else [])
                continue
            mark = shielded[int(piece)]
            if mark not in self._mark_tokens:
                question = {"content": mark, "add_special": False, "parse_special": False}
                self._mark_tokens[mark] = (await self.client.ask("/tokenize", question))["tokens"]
            pieces.extend(self._mark_tokens[mark])
        return pieces


def _shield(text: str, marks: re.Pattern[str], shielded: list[str]) -> str:
    """Replaces each mark in the caller's text by a placeholder that no template touches."""

    def placeholder(match: re.Match[str]) -> str:
        shielded.append(match[0])
        return f"\ue000{len(shielded) - 1}\ue001"

    return marks.sub(placeholder, text)


def _check_length(request: ChatRequest, context_tokens: int) -> None:
    """Raises ContextLengthExceeded for what cannot fit by far: the engine would take a hundred times the text to find out."""
    pictures = sum(len(image.url) for _, image in images_of(request))
    size = len(msgspec.json.encode((request.messages, request.tools))) - pictures
    if size > context_tokens * BYTES_PER_TOKEN_MAX:
        raise ContextLengthExceeded(
            f"This model's maximum context length is {context_tokens} tokens, but messages and tools have {size:,} bytes. "
            "Shorten them.",
            param="messages",
            data={"context_tokens": context_tokens},
        )


def _check_biases(request: ChatRequest, vocabulary: Vocabulary) -> None:
    """Raises InvalidRequest for a token that the model does not have: the engine passes it over in silence."""
    for token in request.logit_bias or ():
        if int(token) >= len(vocabulary.tokens):
            raise InvalidRequest(
                f"`logit_bias`: this model has no token {token}; its last one is {len(vocabulary.tokens) - 1}.",
                param="logit_bias",
            )


def _prediction_is_in_conversation(request: ChatRequest) -> bool:
    """The engine drafts from the conversation's own tokens; a prediction that does not stand there cannot help it."""
    predicted = text_of(request.prediction.content).strip() if request.prediction else ""
    return bool(predicted) and any(predicted in text_of(message.content) for message in request.messages)


def _broken(mark: str) -> str:
    return mark[0] + "\u200b" + mark[1:]


# --- the parameters ---------------------------------------------------------------------------------------------------


def _completion_body(
    endpoint: EngineEndpoint, request: ChatRequest, prompt: Prompt, constraint: Constraint, limit: int | None
) -> dict[str, Any]:
    """The request's parameters in the engine's words. `limit`: the most tokens of a choice."""
    body: dict[str, Any] = {
        "prompt": prompt.value,
        "stream": True,
        "cache_prompt": True,
        "sse_ping_interval": -1,
        "n_predict": -1 if limit is None else min(limit, _TOKENS_MAX),
        "stop": request.stop_sequences,
        "response_fields": ["index", "stop", "stop_type", "tokens_predicted", "tokens_evaluated", "timings"],
        **_sampling(request),
        **_penalties(endpoint, request, prompt),
    }
    if constraint.grammar:
        body["grammar"] = constraint.grammar
        # A grammar takes a control token for its text, which is then not sent: `<|im_start|>` would be missing in a name.
        visible = {constraint.trigger, THINK_OPENING, THINK_CLOSING}
        silent = [[token, False] for text, token in endpoint.silent_tokens.items() if text not in visible]
        body["logit_bias"] = [*body.get("logit_bias", []), *silent]
        if not constraint.from_start:
            body["grammar_lazy"] = True
            body["grammar_triggers"] = [{"type": 1, "value": constraint.trigger}]  # 1 = a word
            body["preserved_tokens"] = [constraint.trigger]
    if request.stop_sequences:
        # Cached tokens are otherwise told with the end only, which does not come when we find a sequence and leave before.
        body["timings_per_token"] = True
        if prompt.thinking is not Mode.CONTENT or callable_tools(request):
            body["stop"] = []  # the engine sees no difference between content and what is hidden from the caller
    if request.logprobs:
        body["n_probs"] = max(request.top_logprobs or 0, 1)
    # The engine counts from the opening mark that it generates; for a thought that the template opened, see generation.py.
    if prompt.thinking is Mode.UNDECIDED and request.reasoning_effort in REASONING_BUDGETS:
        body["reasoning_budget_tokens"] = REASONING_BUDGETS[request.reasoning_effort]
        body["reasoning_budget_start_tag"] = THINK_OPENING
        body["reasoning_budget_end_tag"] = THINK_CLOSING
        body["reasoning_budget_message"] = ""  # without one the engine does not end the thought
    return body


def _sampling(request: ChatRequest) -> dict[str, Any]:
    if request.temperature is None and request.top_p is None:
        sampling: dict[str, Any] = dict(DEFAULT_SAMPLING)
    else:
        sampling = {
            "temperature": 1.0 if request.temperature is None else request.temperature,
            "top_p": 1.0 if request.top_p is None else request.top_p,
            # the likeliest alone where that is what is asked for: weighing all others took 3 % of the pace of eight streams
            "top_k": 1 if request.temperature == 0 else 0,
            "min_p": 0.0,
        }
    if request.top_k is not None:
        sampling["top_k"] = min(request.top_k, _TOKENS_MAX)
    if request.min_p is not None:
        sampling["min_p"] = request.min_p
    return sampling


def _penalties(endpoint: EngineEndpoint, request: ChatRequest, prompt: Prompt) -> dict[str, Any]:
    """OpenAI's formula over the text so far, prompt included; and the caller's own biases.

    The prompt's end-of-turn marks are counted too, which would make the model less and less willing to end its turn. An equal
    bias takes that out again; it is exact, because the mark is never generated twice.
    """
    frequency, presence = request.frequency_penalty or 0.0, request.presence_penalty or 0.0
    biases: dict[int, float] = {int(token): bias for token, bias in (request.logit_bias or {}).items()}
    fields: dict[str, Any] = {}
    if frequency or presence or request.repetition_penalty is not None:
        fields = {
            "frequency_penalty": frequency,
            "presence_penalty": presence,
            "repeat_penalty": 1.0 if request.repetition_penalty is None else request.repetition_penalty,
            "repeat_last_n": endpoint.context_tokens,
        }
        if prompt.end_marks:
            for token in endpoint.end_token_ids:
                biases[token] = biases.get(token, 0.0) + frequency * prompt.end_marks + presence
    if biases:
        fields["logit_bias"] = [[token, bias] for token, bias in biases.items()]
    return fields


def _choice(engine: _Engine, request: ChatRequest, prompt: Prompt, index: int, meter: Meter) -> ChoiceStream:
    assembler = ChoiceAssembler(
        calls=bool(callable_tools(request)),
        thinking=prompt.thinking,
        forced_call=must_call(request),
        forced_name=forced_name(request),
        stop=request.stop_sequences,  # also where the engine looks for them: it misses one after a broken character
    )

    def collector(value: PromptValue) -> LogprobCollector:
        return LogprobCollector(engine.vocabulary, request.top_logprobs or 0, value, engine.client)

    return ChoiceStream(index, assembler, meter, collector if request.logprobs else None)
