"""Bytes to a checked request. Past this point nothing asks whether a field is there or fits."""

import contextlib
import re
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from tollway.errors import InvalidRequest
from tollway.wire.chat import (
    ENTRIES_MAX,
    AssistantMessage,
    ChatRequest,
    FunctionName,
    NamedToolChoice,
    Tool,
    ToolMessage,
)

T = TypeVar("T")

_chat_decoder = msgspec.json.Decoder(ChatRequest)
_keys_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KNOWN_FIELDS = frozenset(ChatRequest.__struct_fields__)
_FLOAT_FOR_INTEGER = re.compile(r"^Expected `int[^`]*`, got `float` - at `\$\.([^`.\[]+)`$")
_WHOLE_NUMBERS_MAX = 10
"""Fields of one body that may be written so; a body with more of them fails at the next one."""
_MISSING_FIELD = re.compile(r"^Object missing required field `([^`]+)`")
_FIRST_HALF = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}")
_UNKNOWN_FIELD = re.compile(r"^Object contains unknown field `([^`]+)`")


def decode_chat_request(body: bytes) -> tuple[ChatRequest, list[str]]:
    """The request, and the names of top-level fields that the contract does not know.

    Raises InvalidRequest naming the parameter's path, or the byte at which the JSON breaks. Legacy `functions` come back as
    `tools`; `uses_legacy_functions` on the request tells that the answer must use the legacy shape.
    """
    request = _decode(body)
    for problem in _contradictions(request):
        raise problem
    return request, list(request.extra)


def _decode(body: bytes) -> ChatRequest:
    """The request with its extra fields."""
    with _said_clearly(body, "a JSON object with `model` and `messages`"):
        request = _decoded(body, _chat_decoder)
        extra = {name: raw for name, raw in _keys_decoder.decode(body).items() if name not in _KNOWN_FIELDS}
        if len(extra) > ENTRIES_MAX:
            raise InvalidRequest(f"The request has {len(extra):,} unknown fields; {ENTRIES_MAX:,} are the most.")
        if extra:
            for raw in extra.values():
                str(raw, "utf-8")  # what is skipped is checked to be JSON, but not to be text
            request.__dict__["extra_fields"] = extra
        return request


def decode_body(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """The body as the decoder's type. Raises InvalidRequest naming the field's path, or the byte at which the JSON breaks."""
    with _said_clearly(body, "a JSON object, `{}` at the least"):
        return _decoded(body, decoder)


def _decoded(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """The body as the decoder's type. JSON has one kind of number: where a field of the object wants an integer, 2.0 is one."""
    for _ in range(_WHOLE_NUMBERS_MAX):
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            field = _FLOAT_FOR_INTEGER.match(str(error))
            if field is None:
                raise
            fields = _keys_decoder.decode(body)
            number = float(bytes(fields[field[1]]))
            if not number.is_integer() or abs(number) >= 2**53:  # beyond it a float does not say which integer is meant
                raise
            body = msgspec.json.encode(fields | {field[1]: int(number)})
    return decoder.decode(body)


@contextlib.contextmanager
def _said_clearly(body: bytes, wanted: str) -> Iterator[None]:
    """Turns what the decoder finds wrong into an InvalidRequest."""
    if not body.strip():
        raise InvalidRequest(f"The body is empty; send {wanted}.", code="invalid_json")
    try:
        yield
    except msgspec.ValidationError as error:
        raise _validation_problem(str(error)) from None
    except RecursionError:
        raise InvalidRequest("The JSON of the body is nested too deeply.", code="invalid_json") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {_fault(body, str(error))}.", code="invalid_json") from None


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


def _validation_problem(text: str) -> InvalidRequest:
    """The sentence of msgspec, such as "Expected `float` <= 2.0 - at `$.temperature`", with the path as `param`."""
    sentence, _, path = text.partition(" - at `")
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
    return InvalidRequest(f"Body validation error! {param or 'body'}: {sentence}.", param=param or None, code=code)


def _contradictions(request: ChatRequest) -> Iterator[InvalidRequest]:
    """What fits field by field but not together."""
    if request.top_logprobs is not None and not request.logprobs:
        yield InvalidRequest("`top_logprobs` needs `logprobs: true`.", param="top_logprobs")
    if "" in request.stop_sequences:
        yield InvalidRequest("A stop sequence must not be empty.", param="stop")
    for token in request.logit_bias or ():
        if not token.isascii() or not token.isdecimal() or len(token) > 9:
            yield InvalidRequest(
                f'The keys of `logit_bias` are token ids such as "1234", not {token[:50]!r}.', param="logit_bias"
            )
    yield from _message_contradictions(request)
    yield from _tool_contradictions(request)


def _message_contradictions(request: ChatRequest) -> Iterator[InvalidRequest]:
    called: set[str] = set()
    for m, message in enumerate(request.messages):
        if isinstance(message, AssistantMessage):
            if message.content is None and not message.tool_calls and not message.function_call and message.refusal is None:
                yield InvalidRequest(
                    "An assistant message needs `content`, `tool_calls` or `function_call`.", param=f"messages[{m}].content"
                )
            called.update(call.id for call in message.tool_calls or ())
        elif isinstance(message, ToolMessage) and message.tool_call_id not in called:
            yield InvalidRequest(
                f"`tool_call_id`: no earlier assistant message has a tool call with the id {message.tool_call_id[:80]!r}.",
                param=f"messages[{m}].tool_call_id",
            )


def _tool_contradictions(request: ChatRequest) -> Iterator[InvalidRequest]:
    if request.functions is not None:
        if request.tools is not None:
            yield InvalidRequest("Use either `tools` or the legacy `functions`, not both.", param="functions")
        request.tools = [Tool(type="function", function=function) for function in request.functions]
        if request.function_call is not None and request.tool_choice is None:
            choice = request.function_call
            request.tool_choice = (
                NamedToolChoice(type="function", function=choice) if isinstance(choice, FunctionName) else choice
            )
    elif request.function_call is not None and request.function_call != "none":
        yield InvalidRequest("`function_call` needs `functions`.", param="function_call")

    names = [tool.function.name for tool in request.tools or ()]
    for t, name in enumerate(names):
        if name in names[:t]:
            yield InvalidRequest(f"Two tools have the name `{name}`.", param=f"tools[{t}].function.name")
    if isinstance(request.tool_choice, NamedToolChoice):
        wanted = request.tool_choice.function.name
        if wanted not in names:
            yield InvalidRequest(f"`tool_choice` names `{wanted[:80]}`, which is not among the tools.", param="tool_choice")
    elif request.tool_choice == "required" and not names:
        yield InvalidRequest('`tool_choice: "required"` needs `tools`.', param="tool_choice")
