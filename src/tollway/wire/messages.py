"""The messages of a conversation, as callers send them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

PARTS_MAX = 4096


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


class GoogleContent(Struct):
    """What Gemini adds to a call."""

    thought_signature: str | None = None


class ExtraContent(Struct):
    """What a model's maker adds to a call; what nobody here knows of is passed over."""

    google: GoogleContent | None = None


class ToolCall(Struct):
    """A tool call in an assistant message of the conversation."""

    id: str
    type: Literal["function"]
    function: FunctionCall
    extra_content: Annotated[
        ExtraContent | None,
        Meta(description="What the answer carried here, as it was: the signature of the thought behind the call."),
    ] = None

    @property
    def thought_signature(self) -> str | None:
        """Out of `extra_content`, if it is there."""
        google = self.extra_content.google if self.extra_content is not None else None
        return (google.thought_signature or None) if google is not None else None


class UserMessage(Struct, tag_field="role", tag="user"):
    """A message of the user."""

    content: Annotated[
        str | Annotated[list[TextPart | ImagePart], Meta(min_length=1, max_length=PARTS_MAX)],
        Meta(description="Text, or a list of text and image parts."),
    ]
    name: str | None = None


class SystemMessage(Struct, tag_field="role", tag="system", forbid_unknown_fields=True):
    """Instructions that the model follows throughout."""

    content: str | Annotated[list[OnlyTextPart], Meta(min_length=1, max_length=PARTS_MAX)]
    name: str | None = None


class DeveloperMessage(Struct, tag_field="role", tag="developer", forbid_unknown_fields=True):
    """The same as a system message, by OpenAI's newer name."""

    content: str | Annotated[list[OnlyTextPart], Meta(min_length=1, max_length=PARTS_MAX)]
    name: str | None = None


class ToolMessage(Struct, tag_field="role", tag="tool", forbid_unknown_fields=True):
    """The result of one tool call."""

    content: str | Annotated[list[OnlyTextPart], Meta(min_length=1, max_length=PARTS_MAX)]
    tool_call_id: Annotated[str, Meta(description="The tool call that this message answers.")]
    name: str | None = None


class FunctionMessage(Struct, tag_field="role", tag="function"):
    """The result of a legacy function call."""

    name: str
    content: str | None = None


class AssistantMessage(Struct, tag_field="role", tag="assistant"):
    """An earlier answer of the model."""

    content: Annotated[
        str | Annotated[list[TextPart | RefusalPart], Meta(min_length=1, max_length=PARTS_MAX)] | None,
        Meta(description="Required unless `tool_calls` or `function_call` is given."),
    ] = None
    name: str | None = None
    tool_calls: Annotated[list[ToolCall], Meta(max_length=PARTS_MAX)] | None = None
    function_call: FunctionCall | None = None
    refusal: str | None = None
    reasoning_content: Annotated[
        str | None, Meta(description="The thought behind the answer; some upstreams want it back. Others do without.")
    ] = None


Message = UserMessage | SystemMessage | DeveloperMessage | ToolMessage | FunctionMessage | AssistantMessage


def text_of(content: str | list[OnlyTextPart] | list[TextPart | ImagePart] | list[TextPart | RefusalPart] | None) -> str:
    """The text of a message's content; parts are joined without anything between them, refusals read as text."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(getattr(part, "refusal" if isinstance(part, RefusalPart) else "text", "") for part in content)
