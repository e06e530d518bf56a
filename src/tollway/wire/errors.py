"""The JSON contract of errors: `application/problem+json` with OpenAI's error object inside, so that every SDK shows it."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

PROBLEM_JSON = "application/problem+json; charset=utf-8"


class ErrorDetail(Struct, kw_only=True):
    """What went wrong, in OpenAI's vocabulary."""

    name: Annotated[str, Meta(description="The kind of error, such as `BadRequestException`.")]
    message: Annotated[str, Meta(description="What was wrong, where, and what to do about it.")]
    type: Annotated[str, Meta(description="The class of error, such as `invalid_request_error`.")]
    code: Annotated[str | None, Meta(description="What to branch on, such as `model_not_found`.")]
    param: Annotated[str | None, Meta(description="Path of the parameter at fault, such as `messages[0].content`.")]
    data: Annotated[dict[str, Any] | UnsetType, Meta(description="More, for machines.")] = UNSET


class Problem(Struct, kw_only=True):
    """The body of every answer with a status of 400 or more."""

    title: Annotated[str, Meta(description="The reason phrase of the status.")]
    status: Annotated[int, Meta(ge=400, le=599)]
    message: str
    instance: Annotated[str, Meta(description="The path of the request.")]
    requestId: Annotated[str, Meta(description="Also in the `x-request-id` header. Quote it when you ask for help.")]  # noqa: N815
    timestamp: Annotated[str, Meta(description="RFC 3339, UTC.")]
    error: ErrorDetail


class ErrorEvent(Struct):
    """The last event of a stream that broke after its first byte."""

    error: ErrorDetail
