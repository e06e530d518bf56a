"""The chat-completions contract as types: request, completion and chunk.

Bounds and descriptions stand here once; they validate requests, and `/openapi.json` and the docs are generated from them.
Optional request fields take null as "not given", because OpenAI's clients send it.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from tollway.wire.messages import (
    PARTS_MAX,
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    FunctionMessage,
    ImagePart,
    ImageUrl,
    Message,
    OnlyTextPart,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
    text_of,
)

# The messages are part of the contract, but a file of their own.
__all__ = [
    "AssistantMessage",
    "DeveloperMessage",
    "FunctionCall",
    "FunctionMessage",
    "ImagePart",
    "ImageUrl",
    "Message",
    "OnlyTextPart",
    "RefusalPart",
    "SystemMessage",
    "TextPart",
    "ToolCall",
    "ToolMessage",
    "UserMessage",
    "text_of",
]

# --- request ----------------------------------------------------------------------------------------------------------

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)", description="Letters, digits, `_` and `-`; at most 64.")]
# What no real request comes near, and what still costs a worker little.
ENTRIES_MAX = 10_000

Penalty = Annotated[float, Meta(ge=-2, le=2)]
TokenLimit = Annotated[float, Meta(ge=1)]


class StreamOptions(Struct):
    """What a stream carries besides the answer."""

    include_usage: Annotated[bool, Meta(description="Send one more chunk with the usage before `[DONE]`.")]
    include_obfuscation: Annotated[bool | None, Meta(description="Without effect: nothing is padded.")] = None


class Prediction(Struct):
    """Text that much of the answer is expected to repeat."""

    type: Literal["content"]
    content: str | Annotated[list[OnlyTextPart], Meta(max_length=PARTS_MAX)]


class TextFormat(Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """Free text."""


class JsonObjectFormat(Struct, tag_field="type", tag="json_object", forbid_unknown_fields=True):
    """Any JSON object."""


class JsonSchemaSpec(Struct, forbid_unknown_fields=True):
    """A named JSON Schema."""

    name: Name
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class JsonSchemaFormat(Struct, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    """JSON that validates against a schema."""

    json_schema: JsonSchemaSpec


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


class Function(Struct, forbid_unknown_fields=True):
    """A function that the model may call."""

    name: Name
    description: str | None = None
    parameters: Annotated[dict[str, Any] | None, Meta(description="JSON Schema of the arguments; none = no arguments.")] = None
    strict: bool | None = None


class Tool(Struct, forbid_unknown_fields=True):
    """A tool. Only functions are supported."""

    type: Literal["function"]
    function: Function


class FunctionName(Struct):
    """A function by its name."""

    name: Annotated[str, Meta(min_length=1)]


class NamedToolChoice(Struct):
    """Forces the model to call this function."""

    type: Literal["function"]
    function: FunctionName


ToolChoice = Literal["none", "auto", "required"] | NamedToolChoice
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high"]


class ChatRequest(Struct, kw_only=True, dict=True):
    """The body of `POST /v1/chat/completions`."""

    model: Annotated[str, Meta(min_length=1, description="The id of a model from `GET /v1/models`.")]
    messages: Annotated[list[Message], Meta(min_length=1, max_length=4096, description="The conversation so far.")]
    max_completion_tokens: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Upper bound of generated tokens, reasoning included. Wins over `max_tokens`. With neither: the "
            "model's own, which is 1,024 for local models that do not think, unless the operator has set another."
        ),
    ] = None
    max_tokens: Annotated[
        TokenLimit | None, Meta(description="Upper bound of generated tokens. A fraction is rounded down.")
    ] = None
    stream: Annotated[bool | None, Meta(description="Send the answer as server-sent events while it is made.")] = False
    stream_options: Annotated[StreamOptions | None, Meta(description="What a stream carries besides the answer.")] = None
    n: Annotated[Annotated[int, Meta(ge=1, le=128)] | None, Meta(description="How many choices to make; each is charged.")] = (
        None
    )
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=2)] | None,
        Meta(description="0 is greedy; higher is more random."),
    ] = None
    top_p: Annotated[
        Annotated[float, Meta(ge=0.01, le=1)] | None, Meta(description="Sample from the tokens that hold this mass.")
    ] = None
    stop: Annotated[
        str | Annotated[list[str], Meta(max_length=4)] | None,
        Meta(description="Up to 4 sequences at which the answer ends; they are not part of it."),
    ] = None
    frequency_penalty: Annotated[
        Penalty | None,
        Meta(description="Positive values make tokens less likely the more often they occur in the text so far."),
    ] = None
    presence_penalty: Annotated[
        Penalty | None,
        Meta(description="Positive values make tokens less likely that occur in the text so far at all."),
    ] = None
    prediction: Annotated[
        Prediction | None,
        Meta(description="Text that much of the answer is expected to repeat; it makes the answer faster."),
    ] = None
    seed: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Best effort: what else is answered at the time and what is cached can change the answer."),
    ] = None
    response_format: Annotated[
        ResponseFormat | None,
        Meta(description="The form that the answer must have: free text, a JSON object, or JSON that fits a schema."),
    ] = None
    tools: Annotated[
        Annotated[list[Tool], Meta(max_length=128)] | None, Meta(description="Functions that the model may call.")
    ] = None
    tool_choice: Annotated[
        ToolChoice | None,
        Meta(description="Whether the model may, must or must not call tools, or which one it calls. With tools: `auto`."),
    ] = None
    parallel_tool_calls: Annotated[bool | None, Meta(description="Whether one answer may call several tools.")] = None
    reasoning_effort: Annotated[
        ReasoningEffort | None,
        Meta(description="How long a model that thinks may think; `none` = not at all."),
    ] = None
    # The superset that OpenAI's clients send:
    logprobs: Annotated[
        bool | None,
        Meta(description="Send the logarithm of the probability of each token of the answer."),
    ] = None
    top_logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=20)] | None,
        Meta(description="How many of the likeliest tokens to name at each position. Needs `logprobs`."),
    ] = None
    logit_bias: Annotated[
        Annotated[dict[str, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=ENTRIES_MAX)] | None,
        Meta(description="Token id to what is added to its logit: -100 bans a token, 100 forces it."),
    ] = None
    user: Annotated[str | None, Meta(description="Your own name for the end user. Without effect.")] = None
    metadata: Annotated[
        Annotated[dict[str, str], Meta(max_length=ENTRIES_MAX)] | None, Meta(description="Notes of your own. Without effect.")
    ] = None
    store: Annotated[bool | None, Meta(description="Nothing is stored, whatever it says.")] = None
    service_tier: Annotated[
        Literal["auto", "default", "flex", "scale", "priority"] | None, Meta(description="Without effect.")
    ] = None
    safety_identifier: Annotated[str | None, Meta(description="Your own name for the end user. Without effect.")] = None
    prompt_cache_key: Annotated[
        str | None,
        Meta(description="Without effect: prompts are cached by what they begin with."),
    ] = None
    functions: Annotated[list[Function], Meta(max_length=128, description="Legacy; use `tools`.")] | None = None
    function_call: Annotated[Literal["none", "auto"] | FunctionName | None, Meta(description="Legacy; use `tool_choice`.")] = (
        None
    )
    # Extensions, where the route supports them:
    top_k: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Sample from this many of the likeliest tokens; 0 = from all.")
    ] = None
    min_p: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="Leave out tokens that are less likely than this share of the likeliest one."),
    ] = None
    repetition_penalty: Annotated[
        Annotated[float, Meta(ge=0.01, le=2)] | None,
        Meta(description="Above 1, tokens that occur in the text so far become less likely."),
    ] = None

    @property
    def extra(self) -> dict[str, msgspec.Raw]:
        """Top-level fields of the body that the contract does not know, as they came. Valid JSON; set while decoding."""
        extra: dict[str, msgspec.Raw] = self.__dict__.get("extra_fields", {})
        return extra

    @property
    def output_tokens_max(self) -> int | None:
        """The caller's own bound of generated tokens per choice, or None."""
        if self.max_completion_tokens is not None:
            return self.max_completion_tokens
        return None if self.max_tokens is None else int(self.max_tokens)

    @property
    def uses_legacy_functions(self) -> bool:
        return self.functions is not None

    @property
    def choices_count(self) -> int:
        return self.n or 1

    @property
    def stop_sequences(self) -> list[str]:
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


def images_of(request: ChatRequest) -> list[tuple[str, ImageUrl]]:
    """Each image of the conversation with its parameter path, in order."""
    found: list[tuple[str, ImageUrl]] = []
    for m, message in enumerate(request.messages):
        if type(message.content) is list and type(message) is UserMessage:
            for p, part in enumerate(message.content):
                if isinstance(part, ImagePart):
                    found.append((f"messages[{m}].content[{p}].image_url.url", part.image_url))
    return found


# --- answer -----------------------------------------------------------------------------------------------------------

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]
VERY_UNLIKELY = -9999.0


class TopLogprob(Struct):
    """One of the most likely tokens at a position."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(Struct):
    """The token that was chosen at a position, and what else was likely there."""

    token: str
    logprob: Annotated[float, Meta(description=f"{VERY_UNLIKELY} marks a very unlikely token.")]
    bytes: list[int] | None
    top_logprobs: list[TopLogprob]


class Logprobs(Struct):
    """One entry for each token of the completion."""

    content: list[TokenLogprob] | None
    refusal: list[TokenLogprob] | None = None


class UrlCitation(Struct):
    """A web page that the answer leans on."""

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(Struct):
    """A note on a stretch of the answer."""

    type: Literal["url_citation"]
    url_citation: UrlCitation


class Audio(Struct):
    """Audio that the model generated."""

    id: str
    data: str
    transcript: str
    expires_at: int


class AnswerToolCall(Struct):
    """A tool call of the answer."""

    id: str
    function: FunctionCall
    type: Literal["function"] = "function"
    extra_content: Annotated[
        dict[str, Any] | UnsetType, Meta(description="What the model wants back with the call in the next request.")
    ] = UNSET


class AnswerMessage(Struct):
    """The answer. The explicit nulls are part of the contract."""

    role: Literal["assistant"] = "assistant"
    content: str | None = None
    reasoning_content: str | UnsetType = UNSET
    refusal: str | None = None
    annotations: list[Annotation] | None = None
    audio: Audio | None = None
    tool_calls: list[AnswerToolCall] | None = None
    function_call: FunctionCall | UnsetType = UNSET


class Choice(Struct):
    """One answer of the `n` that were asked for."""

    index: int
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: Logprobs | None = None


class PromptTokensDetails(Struct):
    """What the prompt's tokens were."""

    audio_tokens: int | None = None
    cached_tokens: Annotated[int | None, Meta(description="A part of `prompt_tokens` that was not computed again.")] = None


class CompletionTokensDetails(Struct):
    """What the completion's tokens were."""

    accepted_prediction_tokens: int | None = None
    audio_tokens: int | None = None
    reasoning_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class Usage(Struct):
    """Tokens, summed over all choices. Reasoning is part of the completion; `total = prompt + completion`."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    completion_tokens_details: CompletionTokensDetails | None = None
    prompt_tokens_details: PromptTokensDetails | None = None


class Cost(Struct):
    """What the request cost."""

    credits_used: Annotated[int, Meta(description="Credits; 2,000,000 are one US dollar.")]
    usd_spent: Annotated[float, Meta(description="= credits_used / 2,000,000")]


class CompletionMeta(Struct):
    """The platform's own addition to OpenAI's shape."""

    usage: Cost | None


class Completion(Struct):
    """The answer of `POST /v1/chat/completions` when it is not streamed."""

    id: str
    created: int
    choices: list[Choice]
    model: Annotated[str, Meta(description="The model that really answered.")]
    usage: Usage
    meta: CompletionMeta
    object: Literal["chat.completion"] = "chat.completion"


class FunctionCallDelta(Struct, omit_defaults=True):
    """The next piece of a function call."""

    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class ToolCallDelta(Struct, omit_defaults=True):
    """The next piece of a tool call; `id`, `type`, the name and `extra_content` come with the first one."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionCallDelta | UnsetType = UNSET
    extra_content: dict[str, Any] | UnsetType = UNSET


class Delta(Struct, omit_defaults=True):
    """What this chunk adds to the message."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    refusal: str | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET
    function_call: FunctionCallDelta | UnsetType = UNSET

    @property
    def text_bytes(self) -> int:
        """The bytes of everything that was generated."""
        size = len(self.content.encode()) if self.content else 0
        if self.reasoning_content or self.refusal:
            size += len((self.reasoning_content or "").encode()) + len((self.refusal or "").encode())
        for call in self.tool_calls or ():
            if call.function:
                size += len((call.function.name or "").encode()) + len((call.function.arguments or "").encode())
        return size


class ChunkChoice(Struct):
    """The part of a chunk that belongs to one choice."""

    index: int
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: Logprobs | None = None


class Chunk(Struct):
    """One event of a stream."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    usage: Usage | UnsetType | None = UNSET
    meta: CompletionMeta | UnsetType = UNSET


encode = msgspec.json.Encoder().encode


class EventWriter:
    """Writes the chunks of one answer as server-sent events: what is the same in all of them is encoded once."""

    def __init__(self, empty: Chunk) -> None:
        """`empty`: such a chunk without choices."""
        before, _, after = encode(empty).partition(b'"choices":[')  # a quotation mark in a text would have a backslash
        self._before = b'data: %b"choices":[' % before
        self._after = after + b"\n\n"

    def event(self, choice: ChunkChoice) -> bytes:
        return self._before + encode(choice) + self._after


def event(chunk: Chunk) -> bytes:
    """A chunk as a server-sent event."""
    return b"data: %b\n\n" % encode(chunk)
