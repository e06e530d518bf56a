"""The conversation as any chat template understands it: system, user and assistant messages with plain text.

Templates differ in whether and how they know tools. Tollway does not ask them: tools, calls and results are written in one
convention of its own (the `<tool_call>` marks that most open models have seen in training), so that tool results are
understood by any template and forced calls can be constrained whatever the template does. See docs/adr/0004.
"""

import json
from collections.abc import Callable, Iterator
from itertools import groupby

import msgspec

from tollway.wire.chat import (
    AssistantMessage,
    ChatRequest,
    DeveloperMessage,
    FunctionCall,
    FunctionMessage,
    ImagePart,
    Message,
    NamedToolChoice,
    SystemMessage,
    Tool,
    ToolMessage,
    UserMessage,
    text_of,
)

CALL_OPENING = '<tool_call>\n{"name": "'
CALL_OPENING_MARK = "<tool_call>"
CALL_MIDDLE = '", "arguments": '
CALL_CLOSING = "}\n</tool_call>"

_TOOLS_PREAMBLE = """\
You can use tools. Each line between <tools> and </tools> describes one function as JSON:
<tools>
{tools}
</tools>
To call a function, write exactly this, with the arguments as a JSON object:
<tool_call>
{{"name": "the function's name", "arguments": {{}}}}
</tool_call>
The result comes back between <tool_response> and </tool_response>."""


def plain_messages(request: ChatRequest, *, image_mark: str = "", shield: Callable[[str], str] = str) -> list[dict[str, str]]:
    """The conversation as `{role, content}` with text only.

    Each image part is replaced by `image_mark`, in order. Neighbouring messages of one role are merged, because many
    templates insist on turns that alternate; tool results are user turns. `shield` is applied to every text that the caller
    wrote, and to nothing that we add.
    """
    turns = [_turn(message, image_mark, shield) for message in _in_order_of_calls(request.messages)]
    systems = [text for role, text in turns if role == "system"]
    if tools := callable_tools(request):
        # After the caller's own instructions: what comes last weighs most with small models.
        systems.append(_TOOLS_PREAMBLE.format(tools="\n".join(shield(_tool_line(tool)) for tool in tools)))
    merged = [{"role": "system", "content": "\n\n".join(systems)}] if systems else []
    for role, text in turns:
        if role == "system":
            continue
        if merged and merged[-1]["role"] == role:
            merged[-1]["content"] += "\n\n" + text
        else:
            merged.append({"role": role, "content": text})
    return merged


def callable_tools(request: ChatRequest) -> list[Tool]:
    """The tools that the model may call in this answer."""
    if not request.tools or request.tool_choice == "none":
        return []
    if isinstance(request.tool_choice, NamedToolChoice):
        wanted = request.tool_choice.function.name
        return [tool for tool in request.tools if tool.function.name == wanted]
    return request.tools


def must_call(request: ChatRequest) -> bool:
    return request.tool_choice == "required" or isinstance(request.tool_choice, NamedToolChoice)


def forced_name(request: ChatRequest) -> str | None:
    """The function that must be called, when there is just one that can be."""
    tools = callable_tools(request)
    return tools[0].function.name if must_call(request) and len(tools) == 1 else None


def call_beginning(request: ChatRequest) -> str:
    """What the prompt already holds of a call that must come; a small model needs the push, and prompts are cheap."""
    if not must_call(request):
        return ""
    name = forced_name(request)
    return CALL_OPENING if name is None else CALL_OPENING + name + CALL_MIDDLE


def _in_order_of_calls(messages: list[Message]) -> Iterator[Message]:
    """The messages; results that follow each other stand as their calls do: without ids the order tells which is whose."""
    places: dict[str, int] = {}
    for _, group in groupby(messages, lambda message: isinstance(message, ToolMessage)):
        neighbours = sorted(group, key=lambda message: places.get(getattr(message, "tool_call_id", ""), 0))
        yield from neighbours
        if isinstance(neighbours[-1], AssistantMessage):
            places = {call.id: place for place, call in enumerate(neighbours[-1].tool_calls or ())}


def _turn(message: Message, image_mark: str, shield: Callable[[str], str]) -> tuple[str, str]:
    match message:
        case SystemMessage() | DeveloperMessage():
            return "system", shield(text_of(message.content))
        case UserMessage(content=parts):
            if isinstance(parts, str):
                return "user", shield(parts)
            return "user", "".join(image_mark if isinstance(part, ImagePart) else shield(part.text) for part in parts)
        case ToolMessage() | FunctionMessage():
            return "user", f"<tool_response>\n{shield(text_of(message.content))}\n</tool_response>"
        case AssistantMessage():
            calls = [call.function for call in message.tool_calls or ()]
            if message.function_call:
                calls.append(message.function_call)
            said = shield(text_of(message.content) or (message.refusal or ""))
            return "assistant", "\n".join(filter(None, [said, *(_call_text(call, shield) for call in calls)]))


def _tool_line(tool: Tool) -> str:
    function = {"name": tool.function.name}
    if tool.function.description:
        function["description"] = tool.function.description
    return json.dumps({**function, "parameters": tool.function.parameters or {}}, ensure_ascii=False)


def _call_text(call: FunctionCall, shield: Callable[[str], str]) -> str:
    return f"{CALL_OPENING}{shield(call.name)}{CALL_MIDDLE}{shield(_spaced(call.arguments))}{CALL_CLOSING}"


def _spaced(arguments: str) -> str:
    """The arguments in the spacing that generated calls have, so that the model sees one style; bad JSON stays as it is."""
    try:
        return json.dumps(msgspec.json.decode(arguments or "{}"), ensure_ascii=False)
    except (msgspec.DecodeError, RecursionError):
        return arguments
