"""Bytes to a checked request. Past this point nothing asks whether a field is there or fits."""

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from tollway.errors import InvalidRequest, UnsupportedParameter
from tollway.wire.allowed import allowed_at, description_at
from tollway.wire.chat import (
    ENTRIES_MAX,
    AssistantMessage,
    ChatRequest,
    FunctionName,
    NamedToolChoice,
    Tool,
    ToolMessage,
)

FREE_FORM_BYTES_MAX = 1_000_000
"""Of each field in which any JSON may stand."""

T = TypeVar("T")

_chat_decoder = msgspec.json.Decoder(ChatRequest)
_keys_decoder = msgspec.json.Decoder(dict[str, Raw])
_FREE_FORM = frozenset({"response_format", "tools", "functions", "logit_bias", "metadata", "modalities", "stop"})
_FEW_FIELDS_BYTES = 5 * ENTRIES_MAX
"""A field takes at least as many bytes as `"":0,`, so that a smaller body has no more than ENTRIES_MAX."""
_KNOWN_FIELDS = frozenset(ChatRequest.__struct_fields__)
_FLOAT_FOR_INTEGER = re.compile(r"^Expected `int[^`]*`, got `float` - at `\$\.([^`.\[]+)`$")
_FLOAT = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_NUMBER_BYTES_MAX = 40
_MISSING_FIELD = re.compile(r"^Object missing required field `([^`]+)`")
_FIRST_HALF = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}")
_SENTENCE_CHARS_MAX = 300
_UNKNOWN_FIELD = re.compile(r"^Object contains unknown field `([^`]+)`")
_FOREIGN = (
    (re.compile(r"\]\.type: Invalid value 'input_audio'$"), "No model here takes audio"),
    (re.compile(r"\]\.type: Invalid value 'file'$"), "No model here takes files"),
    (
        re.compile(r"^tool_choice\.type: Invalid enum value 'allowed_tools'$"),
        "A choice among some of the tools is not supported; leave the others out of `tools`",
    ),
    (
        re.compile(
            r"^(tool_choice|(.*\.)?tool(s|_calls)\[\d+\])\.(type: Invalid enum value 'custom'|custom: This field is unknown)"
        ),
        "Custom tools are not supported; use a function with one string as its parameter",
    ),
)
"""Of OpenAI's own API, what no model here has: by path and fault, and what to say of it."""


def decode_chat_request(body: bytes) -> ChatRequest:
    """The request; its `extra` are the top-level fields that the contract does not know.

    Raises InvalidRequest naming the parameter's path, or the byte at which the JSON breaks. Legacy `functions` come back as
    `tools`; `uses_legacy_functions` on the request tells that the answer must use the legacy shape.
    """
    try:
        fields = _checked_fields(body) if len(body) > FREE_FORM_BYTES_MAX else None
        request = _decoded(body, _chat_decoder)  # of what is wrong this says more than the fields alone
        fields = fields or _fields_of(body)
        if not fields.keys() <= _KNOWN_FIELDS:
            _keep_extra(request, fields)
            _refuse_audio(fields)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _said_clearly(error, body, ChatRequest, "a JSON object with `model` and `messages`") from None
    _refuse_contradictions(request)
    return request


def _checked_fields(body: bytes) -> dict[str, Raw]:
    """The fields of a large body. Where any JSON may stand, or many entries, objects take far more time and memory than their
    text. Of fields that stand twice the last one counts, but all are read.
    """
    fields = _fields_of(body)
    for name in _FREE_FORM & fields.keys():
        size = len(bytes(fields[name]))
        if size > FREE_FORM_BYTES_MAX:
            raise InvalidRequest(f"`{name}` has {size:,} bytes; {FREE_FORM_BYTES_MAX:,} are the most.", param=name)
    if len(body.strip()) - sum(len(bytes(raw)) for raw in fields.values()) > FREE_FORM_BYTES_MAX:
        raise InvalidRequest("Megabytes of the body belong to no field, or to fields that stand twice.")
    return fields


class _Name(str):
    """A field's; the decoder calls us for each because the type is not its own."""

    __slots__ = ()


def _fields_of(body: bytes) -> dict[str, Raw]:
    """The fields of an object that is valid JSON, undecoded. Raises InvalidRequest for more than anybody needs."""
    if len(body) < _FEW_FIELDS_BYTES:
        return _keys_decoder.decode(body)
    count = 0

    def counted(_: type, name: str) -> _Name:
        nonlocal count
        count += 1
        if count > ENTRIES_MAX:
            raise InvalidRequest(f"The body has more than {ENTRIES_MAX:,} fields.")
        return _Name(name)

    fields: dict[str, Raw] = msgspec.json.decode(body, type=dict[_Name, Raw], dec_hook=counted)
    return fields


def _keep_extra(request: ChatRequest, fields: dict[str, Raw]) -> None:
    """Puts aside, with the request, those fields of its body that the contract does not know."""
    extra = {name: raw for name, raw in fields.items() if name not in _KNOWN_FIELDS}
    for raw in extra.values():
        str(raw, "utf-8")  # what is skipped is checked to be JSON, but not to be text
    request.__dict__["extra_fields"] = extra


def _refuse_audio(fields: dict[str, Raw]) -> None:
    """Text in place of audio would be another answer than the one asked for; other modalities are left to the route."""
    wanted = msgspec.json.decode(fields.get("modalities", b"null"))
    if isinstance(wanted, list) and "audio" in wanted:
        raise UnsupportedParameter("All models here answer in text: `modalities` must be without `audio`.", param="modalities")


def decode_body(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """The body as the decoder's type. Raises InvalidRequest naming the field's path, or the byte at which the JSON breaks."""
    try:
        return _decoded(body, decoder)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _said_clearly(error, body, decoder.type, "a JSON object, `{}` at the least") from None


def _decoded(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """The body as the decoder's type. JSON has one kind of number: where a field of the object wants an integer, 2.0 is one."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        if not _FLOAT_FOR_INTEGER.match(str(error)):
            raise
        known = getattr(decoder.type, "__struct_fields__", ())
        fields = _fields_of(body)
        whole = {name: _whole(raw) for name, raw in fields.items() if name in known}
        return decoder.decode(
            msgspec.json.encode(fields | {name: number for name, number in whole.items() if number is not None})
        )


def _whole(raw: Raw) -> int | None:
    """The integer that a number is which is written with a point or an exponent."""
    text = bytes(raw)
    if len(text) > _NUMBER_BYTES_MAX or not _FLOAT.fullmatch(text):
        return None
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else None  # beyond it it is not clear which is meant


def _said_clearly(error: Exception, body: bytes, kind: Any, wanted: str) -> InvalidRequest:
    """What the decoder finds wrong with a body that was to be a `kind`, as an InvalidRequest."""
    if not body.strip():
        return InvalidRequest(f"The body is empty; send {wanted}.", code="invalid_json")
    if isinstance(error, msgspec.ValidationError):
        return _validation_problem(str(error), kind)
    if isinstance(error, RecursionError):
        return InvalidRequest("The JSON of the body is nested too deeply.", code="invalid_json")
    return InvalidRequest(f"The body is not valid JSON: {_fault(body, str(error))}.", code="invalid_json")


def _fault(body: bytes, text: str) -> str:
    """What breaks the JSON, and at which byte: msgspec's own sentence, unless it does not say where."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 (byte {error.start})"
    if "truncated" not in text:
        return text
    # msgspec expects the second half of a surrogate pair beyond the end.
    half = _FIRST_HALF.search(body, max(0, len(body) - 12))
    return f"half of a surrogate pair (byte {half.start()})" if half else f"it ends too early (byte {len(body)})"


def _validation_problem(text: str, kind: Any) -> InvalidRequest:
    """The sentence of msgspec, such as "Expected `float` <= 2.0 - at `$.temperature`", with the path as `param`, and what may
    stand there where the sentence does not say it.
    """
    sentence, found, path = text.rpartition(" - at `")
    if not found:
        sentence, path = text, ""
    if len(sentence) > _SENTENCE_CHARS_MAX:  # it has what was sent
        sentence = f"{sentence[:_SENTENCE_CHARS_MAX]}..."
    param = path.removesuffix("`").removeprefix("$").removeprefix(".")
    code = "invalid_value"
    if missing := _MISSING_FIELD.match(sentence):
        param = f"{param}.{missing[1]}" if param else missing[1]
        sentence, code = "This field is required", "missing_required_parameter"
    elif unknown := _UNKNOWN_FIELD.match(sentence):
        param = f"{param}.{unknown[1]}" if param else unknown[1]
        sentence, code = "This field is unknown here", "unknown_parameter"
    elif sentence.startswith("Expected") and ", got" in sentence:
        code = "invalid_type"
    elif " matching regex " in sentence and (description := description_at(kind, param)):
        sentence = f"Expected {description[0].lower()}{description[1:].rstrip('.')}"
    for pattern, words in _FOREIGN:
        if pattern.search(f"{param}: {sentence}"):
            sentence, code = words, "unsupported_parameter"
    if sentence.startswith("Invalid") and (allowed := allowed_at(kind, param)):
        sentence += f"; it may be {', '.join(f'`{word}`' for word in allowed)}"
    return InvalidRequest(f"Body validation error! {param or 'body'}: {sentence}.", param=param or None, code=code)


def _refuse_contradictions(request: ChatRequest) -> None:
    """What fits field by field but not together."""
    if request.top_logprobs is not None and not request.logprobs:
        raise InvalidRequest("`top_logprobs` needs `logprobs: true`.", param="top_logprobs")
    if "" in request.stop_sequences:
        raise InvalidRequest("A stop sequence must not be empty.", param="stop")
    for token in request.logit_bias or ():
        if not token.isascii() or not token.isdecimal() or len(token) > 9:
            raise InvalidRequest(
                f'The keys of `logit_bias` are token ids such as "1234", not {token[:50]!r}.', param="logit_bias"
            )
    _refuse_messages(request)
    if request.tools or request.functions is not None or request.tool_choice is not None or request.function_call is not None:
        _refuse_tools(request)


def _refuse_messages(request: ChatRequest) -> None:
    called: set[str] = set()
    for m, message in enumerate(request.messages):
        if isinstance(message, AssistantMessage):
            if message.content is None and not message.tool_calls and not message.function_call and message.refusal is None:
                raise InvalidRequest(
                    "An assistant message needs `content`, `tool_calls` or `function_call`.", param=f"messages[{m}].content"
                )
            called.update(call.id for call in message.tool_calls or ())
        elif isinstance(message, ToolMessage) and message.tool_call_id not in called:
            raise InvalidRequest(
                f"`tool_call_id`: no earlier assistant message has a tool call with the id {message.tool_call_id[:80]!r}.",
                param=f"messages[{m}].tool_call_id",
            )


def _refuse_tools(request: ChatRequest) -> None:
    """Puts legacy functions into `tools`; what is refused is named as it was sent."""
    choosing, place = "tool_choice", "tools[{}].function.name"
    if request.functions is not None:
        if request.tools is not None:
            raise InvalidRequest("Use either `tools` or the legacy `functions`, not both.", param="functions")
        request.tools = [Tool(type="function", function=function) for function in request.functions]
        place = "functions[{}].name"
        if request.function_call is not None and request.tool_choice is None:
            choosing, choice = "function_call", request.function_call
            request.tool_choice = (
                NamedToolChoice(type="function", function=choice) if isinstance(choice, FunctionName) else choice
            )
    elif request.function_call is not None and request.function_call != "none":
        raise InvalidRequest("`function_call` needs `functions`.", param="function_call")

    names = [tool.function.name for tool in request.tools or ()]
    for t, name in enumerate(names):
        if name in names[:t]:
            raise InvalidRequest(f"Two functions have the name `{name}`.", param=place.format(t))
    if isinstance(request.tool_choice, NamedToolChoice):
        wanted = request.tool_choice.function.name
        if wanted not in names:
            raise InvalidRequest(f"`{choosing}` names `{wanted[:80]}`, which is not among the functions.", param=choosing)
    elif request.tool_choice == "required" and not names:
        raise InvalidRequest('`tool_choice: "required"` needs `tools`.', param="tool_choice")
