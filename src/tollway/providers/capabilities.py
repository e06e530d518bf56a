"""What the model of a route can do, whoever serves it."""

from tollway.catalog import Route
from tollway.errors import UnsupportedParameter
from tollway.providers.conversation import callable_tools
from tollway.providers.images import IMAGES_MAX, check_images
from tollway.wire.chat import ChatRequest, JsonSchemaFormat


def check_capabilities(request: ChatRequest, route: Route, images_max: int = IMAGES_MAX) -> None:
    """Raises UnsupportedParameter for what the route's capabilities do not cover, and InvalidRequest for too many images."""
    check_images(request, route, images_max)
    if callable_tools(request) and "tools" not in route.capabilities:
        param = "functions" if request.uses_legacy_functions else "tools"
        raise UnsupportedParameter(f"The model `{route.answers_as}` does not call functions.", param=param)
    if isinstance(request.response_format, JsonSchemaFormat) and "structured_output" not in route.capabilities:
        message = f"The model `{route.answers_as}` does not keep to a JSON Schema."
        raise UnsupportedParameter(message, param="response_format")
