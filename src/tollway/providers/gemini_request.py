"""A chat request as the body of Gemini's `generateContent`: turns, tools, and the generation's settings."""

import base64
import re
from typing import Any

import msgspec
from msgspec import Struct, field

from tollway.catalog import HINTS, Route
from tollway.errors import InvalidRequest, UnsupportedParameter
from tollway.providers.capabilities import check_capabilities, left_out_without_openai
from tollway.providers.conversation import callable_tools
from tollway.providers.gemini_schema import Translated, is_empty_object, translate
from tollway.providers.images import ImageLoader
from tollway.wire.chat import (
    AssistantMessage,
    ChatRequest,
    DeveloperMessage,
    FunctionCall,
    FunctionMessage,
    ImagePart,
    JsonSchemaFormat,
    NamedToolChoice,
    SystemMessage,
    TextFormat,
    Tool,
    ToolMessage,
    UserMessage,
    images_of,
    text_of,
)

# Google's own OpenAI layer has these figures.
REASONING_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
IMAGES_MAX = 128
OUTPUT_TOKENS_MAX = 65_536
IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp")

_SEED_MODULUS = 2**31 - 1  # the seed is a signed 32-bit integer
_TOP_K_MAX = 2**31 - 1
# A signature that the caller no longer has; documented by Google for just this.
_NO_SIGNATURE = "skip_thought_signature_validator"
_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")


class Family(Struct, frozen=True):
    """What a generation of models can do. The default is for those that this table does not know, which are newer ones."""

    thinks: bool = True
    can_stop_thinking: bool = True
    json_with_tools: bool = True
    """Whether an answer in JSON may be asked for while functions may be called."""
    wants_signatures: bool = True
    """Whether a function call must come back with the signature of the thought that led to it."""


_FAMILIES = (
    (re.compile(r"gemini-(1\.|2\.0)"), Family(thinks=False, json_with_tools=False, wants_signatures=False)),
    (re.compile(r"gemini-2\.5-pro"), Family(can_stop_thinking=False, json_with_tools=False, wants_signatures=False)),
    (re.compile(r"gemini-2\."), Family(json_with_tools=False, wants_signatures=False)),
)


def family_of(route: Route) -> Family:
    name = route.upstream_model.removeprefix("models/")
    return next((family for pattern, family in _FAMILIES if pattern.match(name)), Family())


# --- what the route can honour ----------------------------------------------------------------------------------------


def check_request(request: ChatRequest, route: Route) -> list[str]:
    """Raises a 400 for what Gemini cannot honour; returns the names of the hints that it will not get."""
    _refuse_unsupported(request, route)
    conversation_of(request, route)
    ignored = [name for name in HINTS if getattr(request, name) is not None]
    ignored += [name for name in ("frequency_penalty", "presence_penalty") if getattr(request, name)]
    if request.reasoning_effort not in (None, "none") and not family_of(route).thinks:
        ignored.append("reasoning_effort")
    ignored += left_out_without_openai(request)
    for param, strict, schema in _schemas(request):
        unenforced = schema.unenforced
        if unenforced and strict:
            raise UnsupportedParameter(
                f"`{unenforced[0]}`: the model `{route.answers_as}` cannot enforce this keyword. Leave it out, or set `strict` "
                "to false to use the schema as a guide.",
                param=unenforced[0],
            )
        if unenforced:
            ignored.append(param)
    return ignored


def _refuse_unsupported(request: ChatRequest, route: Route) -> None:
    model = route.answers_as
    for name, changes in (
        ("logprobs", request.logprobs),
        ("logit_bias", request.logit_bias),
        ("min_p", request.min_p),
        ("repetition_penalty", request.repetition_penalty not in (None, 1)),
    ):
        if changes:
            raise UnsupportedParameter(f"The model `{model}` does not support `{name}`.", param=name)
    family = family_of(route)
    if request.reasoning_effort == "none" and not family.can_stop_thinking:
        raise UnsupportedParameter(f"The model `{model}` always thinks. Use `minimal`.", param="reasoning_effort")
    check_capabilities(request, route, IMAGES_MAX)
    tools = callable_tools(request)
    if tools and _wants_json(request) and not family.json_with_tools:
        raise UnsupportedParameter(
            f"The model `{model}` cannot be held to JSON while it may call functions. Ask for one at a time: leave out "
            '`response_format`, or set `tool_choice` to "none".',
            param="response_format",
        )
    functions = "functions" if request.uses_legacy_functions else "tools"
    for t, tool in enumerate(request.tools or ()):
        if not _FUNCTION_NAME.fullmatch(tool.function.name):
            raise UnsupportedParameter(
                f"The model `{model}` takes only function names that begin with a letter or `_`.",
                param=f"{functions}[{t}].name" if request.uses_legacy_functions else f"tools[{t}].function.name",
            )


def _schemas(request: ChatRequest) -> list[tuple[str, bool, Translated]]:
    """Each schema that goes to Gemini: its parameter's path, whether it is strict, and its translation."""
    found = []
    answer = request.response_format
    if isinstance(answer, JsonSchemaFormat) and answer.json_schema.schema:
        param = "response_format.json_schema.schema"
        found.append((param, bool(answer.json_schema.strict), translate(answer.json_schema.schema, param)))
    for t, tool in enumerate(_declared_tools(request)):
        if tool.function.parameters is not None:
            param = f"functions[{t}].parameters" if request.uses_legacy_functions else f"tools[{t}].function.parameters"
            found.append((param, bool(tool.function.strict), translate(tool.function.parameters, param)))
    return found


def _wants_json(request: ChatRequest) -> bool:
    return request.response_format is not None and not isinstance(request.response_format, TextFormat)


# --- the body ---------------------------------------------------------------------------------------------------------


async def request_body(request: ChatRequest, route: Route, images: ImageLoader, inline_bytes_max: int) -> dict[str, Any]:
    """The body for one choice. Downloads the images. Raises InvalidRequest naming the parameter."""
    conversation = conversation_of(request, route)
    await _load_images(conversation, images, inline_bytes_max)
    body: dict[str, Any] = {"contents": conversation.contents}
    if conversation.system:
        body["systemInstruction"] = {"parts": conversation.system}
    if tools := _declared_tools(request):
        body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in tools]}]
        body["toolConfig"] = {"functionCallingConfig": _calling(request)}
    if config := _generation_config(request, route):
        body["generationConfig"] = config
    return body


def encode_for_choice(body: dict[str, Any], index: int) -> bytes:
    """The body for the choice `index`: with a seed, each choice has its own, or all would be the same."""
    seed = body.get("generationConfig", {}).get("seed")
    if seed is not None and index:
        body = {**body, "generationConfig": {**body["generationConfig"], "seed": (seed + index) % _SEED_MODULUS}}
    return msgspec.json.encode(body)


def _generation_config(request: ChatRequest, route: Route) -> dict[str, Any]:
    given = {
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": min(request.top_k, _TOP_K_MAX) if request.top_k else None,
        "seed": None if request.seed is None else request.seed % _SEED_MODULUS,
        "stopSequences": request.stop_sequences or None,
    }
    config: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    limit = route.output_limit(request.output_tokens_max)
    if limit is not None:
        config["maxOutputTokens"] = min(limit, OUTPUT_TOKENS_MAX)
    if _wants_json(request):
        config["responseMimeType"] = "application/json"
        answer = request.response_format
        if isinstance(answer, JsonSchemaFormat) and answer.json_schema.schema:
            schema = translate(answer.json_schema.schema, "response_format.json_schema.schema").schema
            if schema:
                config["responseJsonSchema"] = schema
    if request.reasoning_effort is not None and family_of(route).thinks:
        if request.reasoning_effort == "none":
            config["thinkingConfig"] = {"thinkingBudget": 0}
        else:
            budget = REASONING_BUDGETS[request.reasoning_effort]
            config["thinkingConfig"] = {"includeThoughts": True, "thinkingBudget": budget}
    details = [image.detail for _, image in images_of(request)]
    if details and all(detail == "low" for detail in details):
        config["mediaResolution"] = "MEDIA_RESOLUTION_LOW"
    return config


def _declared_tools(request: ChatRequest) -> list[Tool]:
    """The functions that Gemini is told of. Those that must not be called stay out of an answer in JSON, which forbids them."""
    if request.tool_choice == "none" and _wants_json(request):
        return []
    return request.tools or []


def _declaration(tool: Tool) -> dict[str, Any]:
    function = tool.function
    declared: dict[str, Any] = {"name": function.name, "description": function.description or function.name}
    if function.parameters is not None and not is_empty_object(function.parameters):
        # its faults were named by `check_request`
        declared["parametersJsonSchema"] = translate(function.parameters, "tools").schema
    return declared


def _calling(request: ChatRequest) -> dict[str, Any]:
    choice = request.tool_choice
    if isinstance(choice, NamedToolChoice):
        return {"mode": "ANY", "allowedFunctionNames": [choice.function.name]}
    return {"mode": {"none": "NONE", "required": "ANY"}.get(choice or "auto", "AUTO")}


async def _load_images(conversation: "Conversation", images: ImageLoader, inline_bytes_max: int) -> None:
    """Puts the images in their places."""
    total = 0
    for part, param, url in conversation.images:
        image = await images.read(url, param=param)
        if image.info.media_type not in IMAGE_TYPES:
            kind = image.info.media_type.removeprefix("image/").upper()
            raise UnsupportedParameter(
                f"`{param}`: this model does not take {kind} images. Send PNG, JPEG or WEBP.", param=param
            )
        encoded = base64.b64encode(image.data).decode("ascii")
        total += len(encoded)
        if total > inline_bytes_max:
            raise InvalidRequest(
                f"`{param}`: the images of this request take more than {inline_bytes_max:,} bytes in base64, which is all that "
                "this model takes. Scale them down.",
                param=param,
                code="invalid_image",
            )
        part["inlineData"] = {"mimeType": image.info.media_type, "data": encoded}


# --- the conversation -------------------------------------------------------------------------------------------------


class Conversation(Struct):
    """The messages as Gemini's turns."""

    system: list[dict[str, Any]] = field(default_factory=list)
    contents: list[dict[str, Any]] = field(default_factory=list)
    images: list[tuple[dict[str, Any], str, str]] = field(default_factory=list)
    """Parts that are still empty, with the path and the URL of the image that belongs there."""


def conversation_of(request: ChatRequest, route: Route) -> Conversation:
    """Raises InvalidRequest for calls without results, results without calls, and arguments that are no JSON object."""
    turns = _Turns(family_of(route))
    for m, message in enumerate(request.messages):
        match message:
            case SystemMessage() | DeveloperMessage():
                turns.conversation.system.extend(_texts(message.content))
            case UserMessage():
                turns.user(m, message)
            case AssistantMessage():
                turns.assistant(m, message)
            case ToolMessage() | FunctionMessage():
                turns.result(m, message)
    turns.close()
    conversation = turns.conversation
    if not conversation.contents:
        if not conversation.system:
            raise InvalidRequest("The messages hold no text at all; there is nothing to answer.", param="messages")
        # There must be a turn to answer.
        conversation.contents.append({"role": "user", "parts": conversation.system})
        conversation.system = []
    return conversation


class _Call(Struct):
    """A function call that waits for its result."""

    id: str | None
    name: str
    response: dict[str, Any] | None = None


class _Turns:
    def __init__(self, family: Family) -> None:
        self.conversation = Conversation()
        self._family = family
        self._kind = ""
        self._calls: list[_Call] = []
        self._calls_param = ""

    def user(self, m: int, message: UserMessage) -> None:
        self.close()
        parts: list[dict[str, Any]] = []
        if isinstance(message.content, str):
            parts = _texts(message.content)
        else:
            for p, piece in enumerate(message.content):
                if isinstance(piece, ImagePart):
                    parts.append({})
                    place = f"messages[{m}].content[{p}].image_url.url"
                    self.conversation.images.append((parts[-1], place, piece.image_url.url))
                elif piece.text:
                    parts.append({"text": piece.text})
        self._add("user", parts)

    def assistant(self, m: int, message: AssistantMessage) -> None:
        self.close()
        parts = _texts(text_of(message.content) or message.refusal or "")
        calls: list[tuple[str | None, FunctionCall, str, str | None]] = [
            (call.id, call.function, f"tool_calls[{c}].function", call.thought_signature)
            for c, call in enumerate(message.tool_calls or ())
        ]
        if message.function_call is not None:
            calls.append((None, message.function_call, "function_call", None))
        for c, (identity, function, place, signature) in enumerate(calls):
            arguments = _object(function.arguments.strip() or "{}")
            if arguments is None:
                path = f"messages[{m}].{place}.arguments"
                raise InvalidRequest(f"`{path}` must be the text of a JSON object.", param=path)
            part: dict[str, Any] = {"functionCall": {"name": function.name, "args": arguments}}
            if signature is not None:
                part["thoughtSignature"] = signature
            elif c == 0 and self._family.wants_signatures:
                part["thoughtSignature"] = _NO_SIGNATURE
            parts.append(part)
            self._calls.append(_Call(identity, function.name))
        self._calls_param = f"messages[{m}].{'tool_calls' if message.tool_calls else 'function_call'}"
        self._add("model", parts)

    def result(self, m: int, message: ToolMessage | FunctionMessage) -> None:
        by_id = isinstance(message, ToolMessage)
        wanted = message.tool_call_id if isinstance(message, ToolMessage) else message.name
        for call in self._calls:
            if call.response is None and wanted == (call.id if by_id else call.name):
                call.response = _response(text_of(message.content))
                return
        path = f"messages[{m}].{'tool_call_id' if by_id else 'name'}"
        raise InvalidRequest(
            f"`{path}`: the assistant message before it has no call {wanted[:80]!r} that still waits for a result.", param=path
        )

    def close(self) -> None:
        """The results of the last calls are over: all must be there. They go into one turn, in the order of the calls."""
        if not self._calls:
            return
        missing = next((call for call in self._calls if call.response is None), None)
        if missing is not None:
            raise InvalidRequest(
                f"`{self._calls_param}`: each call must be followed by a message with its result; there is none for "
                f"{(missing.id or missing.name)[:80]!r}.",
                param=self._calls_param,
            )
        parts = [{"functionResponse": {"name": call.name, "response": call.response}} for call in self._calls]
        self._calls = []
        self._add("results", parts)

    def _add(self, kind: str, parts: list[dict[str, Any]]) -> None:
        """Neighbouring turns of one kind are merged; a turn without content is none."""
        if not parts:
            return
        if kind == self._kind:
            self.conversation.contents[-1]["parts"].extend(parts)
            return
        self._kind = kind
        self.conversation.contents.append({"role": "model" if kind == "model" else "user", "parts": parts})


def _texts(content: Any) -> list[dict[str, Any]]:
    texts = [content] if isinstance(content, str) else [part.text for part in content]
    return [{"text": text} for text in texts if text]


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that the text is, if it is one."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _response(text: str) -> dict[str, Any]:
    """A function's result; it must be an object. Numbers and words stay the text that they were sent as."""
    if text.lstrip().startswith("["):
        try:
            return {"result": msgspec.json.decode(text)}
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return {"result": text}
    value = _object(text)
    return {"result": text} if value is None else value
