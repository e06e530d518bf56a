"""Prompts and answers as span attributes, where they are opted in: JSON in the shapes of the GenAI semantic conventions."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from tollway.wire.chat import (
    AssistantMessage,
    ChatRequest,
    Choice,
    DeveloperMessage,
    FunctionMessage,
    ImagePart,
    Message,
    SystemMessage,
    ToolMessage,
    text_of,
)

Part = dict[str, Any]


def input_attributes(request: ChatRequest) -> dict[str, str]:
    """System instructions, conversation and tools. Images in the request itself are named, not repeated."""
    system = [_text(text_of(each.content)) for each in request.messages if isinstance(each, SystemMessage | DeveloperMessage)]
    messages = [
        {"role": _role(message), "parts": list(_parts(message))}
        for message in request.messages
        if not isinstance(message, SystemMessage | DeveloperMessage)
    ]
    attributes = {"gen_ai.input.messages": _json(messages)}
    if system:
        attributes["gen_ai.system_instructions"] = _json(system)
    functions = [*(request.functions or ()), *(tool.function for tool in request.tools or ())]
    if functions:
        definitions = [
            {"type": "function", "name": each.name, "description": each.description, "parameters": each.parameters}
            for each in functions
        ]
        attributes["gen_ai.tool.definitions"] = _json(definitions)
    return attributes


def output_attribute(choices: Sequence[Choice]) -> dict[str, str]:
    """The answer, one message for each choice."""
    messages = []
    for choice in choices:
        message = choice.message
        parts: list[Part] = []
        if isinstance(message.reasoning_content, str) and message.reasoning_content:
            parts.append({"type": "reasoning", "content": message.reasoning_content})
        if text := message.content or message.refusal:
            parts.append(_text(text))
        parts += [_call(each.id, each.function.name, each.function.arguments) for each in message.tool_calls or ()]
        messages.append({"role": "assistant", "parts": parts, "finish_reason": choice.finish_reason})
    return {"gen_ai.output.messages": _json(messages)}


def _parts(message: Message) -> Iterator[Part]:
    if isinstance(message, AssistantMessage):
        if message.reasoning_content:
            yield {"type": "reasoning", "content": message.reasoning_content}
        if text := text_of(message.content) or message.refusal:
            yield _text(text)
        for call in message.tool_calls or ():
            yield _call(call.id, call.function.name, call.function.arguments)
        if message.function_call:
            yield _call(None, message.function_call.name, message.function_call.arguments)
    elif isinstance(message, ToolMessage | FunctionMessage):
        called = message.tool_call_id if isinstance(message, ToolMessage) else None
        yield {"type": "tool_call_response", "id": called, "response": text_of(message.content)}
    elif isinstance(message.content, str):
        yield _text(message.content)
    else:
        for part in message.content:
            yield _image(part.image_url.url) if isinstance(part, ImagePart) else _text(part.text)


def _role(message: Message) -> str:
    return "tool" if isinstance(message, FunctionMessage) else str(message.__struct_config__.tag)


def _text(text: str) -> Part:
    return {"type": "text", "content": text}


def _call(call_id: str | None, name: str, arguments: str) -> Part:
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}


def _image(url: str) -> Part:
    return {"type": "uri", "modality": "image", "uri": url if not url.startswith("data:") else url.partition(",")[0]}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
