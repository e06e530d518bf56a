"""The chat-completions contract as types: request, completion and chunk.

Bounds and descriptions stand here once; they validate requests, and `/openapi.json` and the docs are generated from them.
Optional request fields take null as "not given", because OpenAI's clients send it.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

# --- request ----------------------------------------------------------------------------------------------------------

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)", description="Letters, digits, `_` and `-`; at most 64.")]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
TokenLimit = Annotated[float, Meta(ge=1)]


class TextPart(Struct, tag_field="type", tag="text"):
    """A piece of text."""

    text: Annotated[str, Meta(description="The text content.")]


class OnlyTextPart(Struct):
    """A piece of text, where nothing else may stand. (A tag is checked in unions only.)"""

    type: Literal["text"]
    text: Annotated[str, Meta(description="The text content.")]


class ImageUrl(Struct):
    """Where an image is, and how closely to look at it."""

    url: Annotated[str, Meta(min_length=1, description="An https URL, or a data URL with base64 image data.")]
    detail: Annotated[Literal["low", "high", "auto"] | None, Meta(description="JPG/JPEG, PNG, GIF and WEBP are supported.")] = (
        None
    )


class ImagePart(Struct, tag_field="type", tag="image_url"):
    """An image, for models that see."""

    image_url: ImageUrl


class RefusalPart(Struct, tag_field="type", tag="refusal"):
    """A refusal that an assistant message carried."""

    refusal: str


class FunctionCall(Struct):
    """A call of a function as the model wrote it."""

    name: Annotated[str, Meta(min_length=1)]
    arguments: Annotated[str, Meta(description="JSON text. Validate it before use.")]


class ToolCall(Struct):
    """A tool call in an assistant message of the conversation."""

    id: str
    function: FunctionCall
    type: Literal["function"] = "function"
    extra_content: Annotated[
        dict[str, Any] | None,
        Meta(
            description="What the answer carried here: send it back as it was. Holds the signature of a Gemini model's thought."
        ),
    ] = None


class UserMessage(Struct, tag_field="role", tag="user"):
    """A message of the user."""

    content: Annotated[
        str | Annotated[list[TextPart | ImagePart], Meta(min_length=1)],
        Meta(description="Text, or a list of text and image parts."),
    ]
    name: str | None = None


class SystemMessage(Struct, tag_field="role", tag="system", forbid_unknown_fields=True):
    """Instructions that the model follows throughout."""

    content: str | Annotated[list[OnlyTextPart], Meta(min_length=1)]
    name: str | None = None


class DeveloperMessage(Struct, tag_field="role", tag="developer", forbid_unknown_fields=True):
    """The same as a system message, by OpenAI's newer name."""

    content: str | Annotated[list[OnlyTextPart], Meta(min_length=1)]
    name: str | None = None


class ToolMessage(Struct, tag_field="role", tag="tool", forbid_unknown_fields=True):
    """The result of one tool call."""

    content: str | Annotated[list[OnlyTextPart], Meta(min_length=1)]
    tool_call_id: Annotated[str, Meta(description="The tool call that this message answers.")]
    name: str | None = None


class FunctionMessage(Struct, tag_field="role", tag="function"):
    """The result of a legacy function call."""

    name: str
    content: str | None = None


class AssistantMessage(Struct, tag_field="role", tag="assistant"):
    """An earlier answer of the model."""

    content: Annotated[
        str | Annotated[list[TextPart | RefusalPart], Meta(min_length=1)] | None,
        Meta(description="Required unless `tool_calls` or `function_call` is given."),
    ] = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: FunctionCall | None = None
    refusal: str | None = None
    reasoning_content: Annotated[
        str | None, Meta(description="The thought behind the answer; some upstreams want it back. Others do without.")
    ] = None


Message = UserMessage | SystemMessage | DeveloperMessage | ToolMessage | FunctionMessage | AssistantMessage


class StreamOptions(Struct):
    """What a stream carries besides the answer."""

    include_usage: Annotated[bool, Meta(description="Send one more chunk with the usage before `[DONE]`.")]


class Prediction(Struct):
    """Text that much of the answer is expected to repeat."""

    type: Literal["content"]
    content: str | list[OnlyTextPart]


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
        Meta(description="Upper bound of generated tokens, reasoning included. Wins over `max_tokens`."),
    ] = None
    max_tokens: Annotated[
        TokenLimit | None, Meta(description="Upper bound of generated tokens. A fraction is rounded down.")
    ] = None
    stream: Annotated[bool | None, Meta(description="Send the answer as server-sent events while it is made.")] = False
    stream_options: StreamOptions | None = None
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
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    prediction: Prediction | None = None
    seed: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="The same request with the same seed: the same answer.")
    ] = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Meta(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: ReasoningEffort | None = None
    # The superset that OpenAI's clients send:
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    functions: Annotated[list[Function], Meta(max_length=128, description="Legacy; use `tools`.")] | None = None
    function_call: Annotated[Literal["none", "auto"] | FunctionName | None, Meta(description="Legacy; use `tool_choice`.")] = (
        None
    )
    # Extensions, where the route supports them:
    top_k: Annotated[int, Meta(ge=0)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=2)] | None = None

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


def text_of(content: str | list[OnlyTextPart] | list[TextPart | ImagePart] | list[TextPart | RefusalPart] | None) -> str:
    """The text of a message's content; parts are joined without anything between them, refusals read as text."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(getattr(part, "refusal" if isinstance(part, RefusalPart) else "text", "") for part in content)


def images_of(request: ChatRequest) -> Iterator[tuple[str, ImageUrl]]:
    """Each image of the conversation with its parameter path, in order."""
    for m, message in enumerate(request.messages):
        if isinstance(message, UserMessage) and not isinstance(message.content, str):
            for p, part in enumerate(message.content):
                if isinstance(part, ImagePart):
                    yield f"messages[{m}].content[{p}].image_url.url", part.image_url


# --- answer -----------------------------------------------------------------------------------------------------------

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class TopLogprob(Struct):
    """One of the most likely tokens at a position."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(Struct):
    """The token that was chosen at a position, and what else was likely there."""

    token: str
    logprob: Annotated[float, Meta(description="-9999.0 marks a very unlikely token.")]
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
