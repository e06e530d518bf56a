"""What the model of a route can do, whoever serves it; and small things that are left out, which callers are told."""

from tollway.catalog import Route
from tollway.errors import InvalidRequest, UnsupportedParameter
from tollway.providers.conversation import callable_tools
from tollway.providers.images import IMAGES_MAX, check_images
from tollway.wire.chat import ChatRequest, FunctionMessage, JsonSchemaFormat, Message, ToolMessage


def check_capabilities(request: ChatRequest, route: Route, images_max: int = IMAGES_MAX) -> None:
    """Raises UnsupportedParameter for what the route's capabilities do not cover, and InvalidRequest for too many images."""
    check_images(request, route, images_max)
    if callable_tools(request) and "tools" not in route.capabilities:
        param = "functions" if request.uses_legacy_functions else "tools"
        raise UnsupportedParameter(f"The model `{route.answers_as}` does not call functions.", param=param)
    if isinstance(request.response_format, JsonSchemaFormat) and "structured_output" not in route.capabilities:
        message = f"The model `{route.answers_as}` does not keep to a JSON Schema."
        raise UnsupportedParameter(message, param="response_format")


def refuse_unknown_fields(request: ChatRequest, route: Route) -> None:
    """Raises InvalidRequest for a top-level field that neither the contract knows nor the upstream takes."""
    for name in request.extra:
        if not route.upstream.quirks.takes(name):
            raise InvalidRequest(f"Unknown parameter: {name}.", param=name, code="unknown_parameter")


def left_out_everywhere(request: ChatRequest) -> list[str]:
    """Names of what no route has an effect for."""
    options = request.stream_options
    return ["stream_options.include_obfuscation"] if options is not None and options.include_obfuscation else []


def left_out_without_openai(request: ChatRequest) -> list[str]:
    """Names of what only OpenAI's own dialect has a place for."""
    names = left_out_everywhere(request)
    if any(has_name(message) for message in request.messages):
        names.append("messages.name")
    if isinstance(request.response_format, JsonSchemaFormat) and request.response_format.json_schema.description:
        names.append("response_format.json_schema.description")
    return names


def has_name(message: Message) -> bool:
    """A result's name says nothing that its `tool_call_id` does not."""
    return not isinstance(message, FunctionMessage | ToolMessage) and message.name is not None
