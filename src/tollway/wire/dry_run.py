"""What a chat completion would cost."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class DryRun(Struct):
    """The answer to `x-tollway-dry-run: true`: the most that the request could use and cost. Nothing was made or charged."""

    model: Annotated[str, Meta(description="The model that would answer.")]
    prompt_tokens_max: int
    completion_tokens_max: Annotated[int, Meta(description="Of all choices together.")]
    credits_max: Annotated[int, Meta(description="Credits; 2,000,000 are one US dollar.")]
    usd_max: float
    object: Literal["chat.completion.dry_run"] = "chat.completion.dry_run"
