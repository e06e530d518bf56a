"""A chat request in the words of an OpenAI-compatible upstream; what differs between upstreams comes from its quirks.

Only what every such upstream takes is written: instructions as `system`, texts of several parts as one, legacy functions as
tools, a function without parameters as one that takes an empty object.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from tollway.catalog import HINTS, Quirks, Route
from tollway.errors import UnsupportedParameter
from tollway.metering import IMAGE_TOKENS, estimated_tokens
from tollway.providers.capabilities import check_capabilities, has_name, left_out_everywhere
from tollway.providers.conversation import callable_tools, must_call
from tollway.providers.images import ImageLoader
from tollway.wire.chat import (
    AssistantMessage,
    ChatRequest,
    DeveloperMessage,
    FunctionCall,
    FunctionMessage,
    FunctionName,
    ImagePart,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedToolChoice,
    SystemMessage,
    TextPart,
    Tool,
    ToolCall,
    ToolMessage,
    UserMessage,
    images_of,
    text_of,
)

# Sent as they are where they are given. The rest needs a thought.
_PLAIN = (
    "temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "logprobs", "top_logprobs", "top_k", "min_p",
    "repetition_penalty",
)  # fmt: skip
_plain_of: Callable[[ChatRequest], tuple[Any, ...]] = attrgetter(*_PLAIN)
_hints_of: Callable[[ChatRequest], tuple[Any, ...]] = attrgetter(*HINTS)
_WITHOUT_EFFECT: dict[str, Any] = {
    "frequency_penalty": 0, "logit_bias": {}, "logprobs": False, "min_p": 0, "presence_penalty": 0, "repetition_penalty": 1,
    "stop": [], "tools": [], "top_k": 0, "top_logprobs": 0,
}  # fmt: skip
_encode = msgspec.json.Encoder().encode
_NO_HINTS = (None,) * len(HINTS)
_NO_ARGUMENTS = {"type": "object", "properties": {}}


WHOLE_TOKENS_MAX = 256
"""A caller who waits for an answer that cannot be longer gets it in one piece from the upstream, too: that costs a third of the
work, and it comes within the time that a first token may take. Longer ones are streamed whoever asks, so that a stalled
upstream is noticed at once and an answer that is broken off is charged by its tokens."""


class Payload(Struct):
    """The body of one call."""

    data: bytes
    streams: bool
    prompt_tokens: int
    """An estimate, for upstreams that do not tell: a token per 4 bytes of messages and tools, 256 for an image."""


def check_request(request: ChatRequest, route: Route) -> list[str]:
    """See Provider.check."""
    quirks = route.upstream.quirks
    check_capabilities(request, route)
    for name in quirks.refused_parameters:
        if _is_used(request, name):
            sent = "function_call" if name == "tool_choice" and isinstance(request.function_call, FunctionName) else name
            raise UnsupportedParameter(f"The model `{route.answers_as}` does not support `{sent}`.", param=sent)
    ignored = left_out_everywhere(request)
    if _hints_of(request) != _NO_HINTS:
        ignored += [name for name in HINTS if name not in quirks.hints and getattr(request, name) is not None]
    if request.reasoning_effort is not None and not _takes_effort(route):
        ignored.append("reasoning_effort")
    if not quirks.message_names and any(has_name(message) for message in request.messages):
        ignored.append("messages.name")
    return ignored


async def payload_for(request: ChatRequest, route: Route, images: ImageLoader) -> Payload:
    """The body of the call. Downloads images unless the upstream does; raises InvalidRequest for one that cannot be used."""
    quirks = route.upstream.quirks
    urls = [await _image_url(image.url, param, quirks, images) for param, image in images_of(request)]
    body: dict[str, Any] = {name: value for name, value in request.extra.items() if quirks.takes(name)}
    messages = _encode(_messages(request, quirks, urls))
    tools = _encode([_tool(tool) for tool in _sent_tools(request, route)]) if request.tools else b"[]"
    body["model"] = route.upstream_model
    body["messages"] = msgspec.Raw(messages)
    limit = route.output_limit(request.output_tokens_max)
    streams = not _is_wanted_whole(request, limit)
    if streams:
        body["stream"] = True
        if quirks.usage_in_stream == "on_request":
            body["stream_options"] = {"include_usage": True}
    if tools != b"[]":
        body["tools"] = msgspec.Raw(tools)
    for name, value in _parameters(request, route).items():
        body[quirks.parameter_names.get(name, name)] = value
    if limit is not None:
        body[quirks.max_tokens_field] = limit
    for name in quirks.hints:
        if (value := getattr(request, name)) is not None:
            body[name] = value
    text_bytes = len(messages) + len(tools) - sum(map(len, urls))
    return Payload(_encode(body), streams, estimated_tokens(text_bytes) + IMAGE_TOKENS * len(urls))


def _is_wanted_whole(request: ChatRequest, limit: int | None) -> bool:
    return not request.stream and limit is not None and limit * request.choices_count <= WHOLE_TOKENS_MAX


# --- what the route can do --------------------------------------------------------------------------------------------


def _is_used(request: ChatRequest, name: str) -> bool:
    """Whether the parameter asks for something other than what happens without it."""
    if name == "n":
        return request.choices_count > 1
    if name == "tool_choice":
        return must_call(request)
    value = getattr(request, name)
    return value is not None and value != _WITHOUT_EFFECT.get(name)


def _takes_effort(route: Route) -> bool:
    return "reasoning" in route.capabilities


# --- the parameters ---------------------------------------------------------------------------------------------------


def _parameters(request: ChatRequest, route: Route) -> dict[str, Any]:
    """By our own names. One that the upstream refuses gets here only when it is without effect, and is left out."""
    given = {name: value for name, value in zip(_PLAIN, _plain_of(request), strict=True) if value is not None}
    if request.stop_sequences:
        given["stop"] = request.stop_sequences
    if request.choices_count > 1:
        given["n"] = request.choices_count
    if request.logit_bias:  # whole numbers as such: for some upstreams 5.0 is no integer
        given["logit_bias"] = {token: int(bias) if bias == int(bias) else bias for token, bias in request.logit_bias.items()}
    if request.reasoning_effort is not None and _takes_effort(route):
        given["reasoning_effort"] = request.reasoning_effort
    if isinstance(request.response_format, JsonObjectFormat):
        given["response_format"] = {"type": "json_object"}
    elif isinstance(request.response_format, JsonSchemaFormat):
        schema = _without_nulls(request.response_format.json_schema)
        given["response_format"] = {"type": "json_schema", "json_schema": schema}
    if _sent_tools(request, route):
        choice = request.tool_choice
        if isinstance(choice, NamedToolChoice):
            named = {"type": "function", "function": {"name": choice.function.name}}
            given["tool_choice"] = named if route.upstream.quirks.named_tool_choice else "required"
        elif choice is not None:
            given["tool_choice"] = choice
        parallel = False if request.uses_legacy_functions else request.parallel_tool_calls
        if parallel is not None:
            given["parallel_tool_calls"] = parallel
    for name in route.upstream.quirks.refused_parameters:
        given.pop(name, None)
    return given


def _sent_tools(request: ChatRequest, route: Route) -> list[Tool]:
    """Tools that must not be called stay out where the upstream cannot be told so, or the model knows none."""
    if isinstance(request.tool_choice, NamedToolChoice) and not route.upstream.quirks.named_tool_choice:
        return callable_tools(request)
    told = "tools" in route.capabilities and "tool_choice" not in route.upstream.quirks.refused_parameters
    return (request.tools or []) if told or request.tool_choice != "none" else []


def _tool(tool: Tool) -> dict[str, Any]:
    return {"type": "function", "function": {"parameters": _NO_ARGUMENTS, **_without_nulls(tool.function)}}


def _without_nulls(struct: Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(struct).items() if value is not None}


# --- the conversation -------------------------------------------------------------------------------------------------


def _messages(request: ChatRequest, quirks: Quirks, urls: list[str]) -> list[dict[str, Any]]:
    """The conversation. `urls` are its images in order; a legacy call gets an id by its place, which its result answers."""
    sent: list[dict[str, Any]] = []
    images = iter(urls)
    legacy_id: str | None = None
    for place, message in enumerate(request.messages):
        entry: dict[str, Any] = {}
        match message:
            case UserMessage():
                entry = {"role": "user", "content": _user_content(message.content, images)}
            case SystemMessage() | DeveloperMessage():
                entry = {"role": "system", "content": text_of(message.content)}
            case ToolMessage():
                call_id = _sent_id(message.tool_call_id, quirks)
                entry = {"role": "tool", "tool_call_id": call_id, "content": text_of(message.content)}
            case FunctionMessage():
                if legacy_id is None:  # a result without its call; upstreams want the call
                    legacy_id = _sent_id(f"call_legacy_{place}", quirks)
                    sent.append(_calling(legacy_id, FunctionCall(message.name, "{}")))
                entry = {"role": "tool", "tool_call_id": legacy_id, "content": message.content or ""}
                legacy_id = None
            case AssistantMessage():
                entry = _assistant(message, quirks)
                if message.function_call and not message.tool_calls:
                    legacy_id = _sent_id(f"call_legacy_{place}", quirks)
                    entry["tool_calls"] = _calling(legacy_id, message.function_call)["tool_calls"]
        if quirks.message_names and has_name(message):
            entry["name"] = message.name
        sent.append(entry)
    return sent


def _assistant(message: AssistantMessage, quirks: Quirks) -> dict[str, Any]:
    text = text_of(message.content) or message.refusal or ""
    entry: dict[str, Any] = {"role": "assistant", "content": text}
    if message.tool_calls:
        entry["tool_calls"] = [_tool_call(call, quirks) for call in message.tool_calls]
    if not text and (message.tool_calls or message.function_call):
        entry["content"] = None
    if quirks.reasoning_field is not None and message.reasoning_content:
        entry[quirks.reasoning_field] = message.reasoning_content
    return entry


def _tool_call(call: ToolCall, quirks: Quirks) -> dict[str, Any]:
    function = {"name": call.function.name, "arguments": call.function.arguments}
    entry: dict[str, Any] = {"id": _sent_id(call.id, quirks), "type": "function", "function": function}
    if quirks.extra_content and call.thought_signature is not None:
        entry["extra_content"] = {"google": {"thought_signature": call.thought_signature}}
    return entry


def _sent_id(call_id: str, quirks: Quirks) -> str:
    """The id of a tool call as the upstream takes it: calls may be another upstream's, or the caller's own."""
    length = quirks.tool_call_id_length
    if length is None or (len(call_id) == length and call_id.isascii() and call_id.isalnum()):
        return call_id
    return hashlib.sha256(call_id.encode(errors="replace")).hexdigest()[:length]


def _calling(call_id: str, call: FunctionCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]}


def _user_content(content: str | list[TextPart | ImagePart], images: Iterator[str]) -> str | list[dict[str, Any]]:
    """Text, or parts where there are images among them, which take their URLs from `images`."""
    if isinstance(content, str) or not any(isinstance(part, ImagePart) for part in content):
        return text_of(content)
    parts: list[dict[str, Any]] = []
    for part in content:
        if isinstance(part, ImagePart):
            image = {"url": next(images)}
            if part.image_url.detail is not None:
                image["detail"] = part.image_url.detail
            parts.append({"type": "image_url", "image_url": image})
        else:
            parts.append({"type": "text", "text": part.text})
    return parts


async def _image_url(url: str, param: str, quirks: Quirks, images: ImageLoader) -> str:
    """The URL itself where the upstream fetches it; otherwise the checked image as a data URL."""
    if quirks.fetches_images and url[:8].lower() == "https://":
        return url
    image = await images.read(url, param=param)
    return f"data:{image.info.media_type};base64,{base64.b64encode(image.data).decode('ascii')}"
