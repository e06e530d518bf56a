"""Usage as an upstream reports it, which is not to be trusted: it decides what is charged.

A figure that cannot be true (no whole number, negative, more than the model's context, nothing where something came) counts
as not reported, and what was received is counted instead. Parts never exceed their whole.
"""

from typing import Any

import structlog

from tollway.catalog import Route
from tollway.wire.chat import CompletionTokensDetails, PromptTokensDetails, Usage

log = structlog.get_logger()

_PLAIN = frozenset(("prompt_tokens", "completion_tokens", "total_tokens"))


def checked_usage(
    reported: object, counted: Usage, route: Route, choices: int, *, quiet: bool = False
) -> tuple[Usage, list[str]]:
    """The usage to charge, and flags that say what was not usable. `counted` is our own estimate of prompt and completion;
    `reported` the upstream's object or None.

    What was not usable is logged under the names of its fields, unless `quiet`.
    """
    if not isinstance(reported, dict):
        if not quiet and (reported is not None or route.upstream.quirks.usage_in_stream != "never"):
            log.warning("upstream_usage_missing", upstream=route.upstream.name, model=route.upstream_model)
        return counted, ["usage_missing"]
    figures = _Figures(reported)
    context = route.context_tokens
    # The context bounds prompt and answer; an operator may have set it too low, so what is plausible by its size passes too.
    # Our count of tokens times 4 is one of bytes, and no token is shorter than a byte.
    prompt = figures.take("prompt_tokens", at_most=max(context, counted.prompt_tokens * 4), at_least=1)
    completion = figures.take(
        "completion_tokens",
        at_most=choices * max(context, counted.completion_tokens * 4),
        at_least=min(1, counted.completion_tokens),
    )
    if prompt is not None and completion is not None and reported.keys() <= _PLAIN:
        return Usage(prompt, completion, prompt + completion), []
    figures.unusable += [name for name in ("prompt_tokens", "completion_tokens") if reported.get(name) is None]
    prompt = counted.prompt_tokens if prompt is None else prompt
    completion = counted.completion_tokens if completion is None else completion

    of_completion, of_prompt = figures.part("completion_tokens_details"), figures.part("prompt_tokens_details")
    reasoning_max = choices * max(context, completion)
    reasoning = of_completion.take("reasoning_tokens", at_most=reasoning_max)
    if reasoning is None:  # SGLang has it beside the others
        reasoning = figures.take("reasoning_tokens", at_most=reasoning_max)
    total = reported.get("total_tokens")
    if reasoning and total == prompt + completion + reasoning:  # some count the thought beside the completion
        completion += reasoning
    cached = of_prompt.take("cached_tokens", at_most=None)
    if cached is None:  # two more places where upstreams put it
        cached = figures.take("prompt_cache_hit_tokens", at_most=None)
    if cached is None:
        cached = figures.take("cached_tokens", at_most=None)
    audio = of_prompt.take("audio_tokens", at_most=None)
    if cached is not None and cached > prompt:
        figures.unusable.append("cached_tokens")
        cached = prompt
    if audio is not None:
        audio = min(audio, prompt - (cached or 0))
    spent = {
        name: of_completion.take(name, at_most=completion)
        for name in ("accepted_prediction_tokens", "audio_tokens", "rejected_prediction_tokens")
    }
    if reasoning is not None:
        spent["reasoning_tokens"] = min(reasoning, completion)
    unusable = [*figures.unusable, *of_completion.unusable, *of_prompt.unusable]
    if unusable and not quiet:
        log.warning("upstream_usage_unusable", upstream=route.upstream.name, model=route.upstream_model, fields=unusable)
    usage = Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        completion_tokens_details=CompletionTokensDetails(**spent) if any(v is not None for v in spent.values()) else None,
        prompt_tokens_details=(
            PromptTokensDetails(audio_tokens=audio, cached_tokens=cached) if (audio, cached) != (None, None) else None
        ),
    )
    return usage, [f"{name}_unusable" for name in unusable]


class _Figures:
    """One object of figures, and the names of those that could not be used."""

    def __init__(self, values: dict[Any, Any]) -> None:
        self._values = values
        self.unusable: list[str] = []

    def take(self, name: str, *, at_most: int | None, at_least: int = 0) -> int | None:
        """The figure, or None where there is none that can be true."""
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or value < at_least or (at_most is not None and value > at_most):
            self.unusable.append(name)
            return None
        return value

    def part(self, name: str) -> "_Figures":
        value = self._values.get(name)
        return _Figures(value if isinstance(value, dict) else {})
