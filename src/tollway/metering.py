"""Usage x price -> credits, in integers."""

from decimal import Decimal

from tollway.catalog import Price
from tollway.money import CREDITS_PER_USD
from tollway.wire.chat import Usage

_MICRO = 1_000_000


def markup_micro(markup: str) -> int:
    """The markup setting in millionths."""
    return int(Decimal(markup) * _MICRO)


def credits_for(usage: Usage, price: Price, markup: int) -> int:
    """What `usage` costs, each component rounded up to a whole credit.

    `markup` is in millionths. Cached prompt tokens are a part of the prompt tokens and are charged at their own price instead.
    """
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens or 0) if details else 0
    audio = (details.audio_tokens or 0) if details else 0
    components = (
        (usage.prompt_tokens - cached - audio, price.micro("prompt")),
        (cached, price.micro("cached_prompt")),
        (audio, price.micro("audio_prompt")),
        (usage.completion_tokens, price.micro("completion")),
    )
    # tokens/10^6 x USD/10^6 x markup/10^6 x credits per USD, over a common denominator; -(-a // b) rounds up
    return sum(-(-tokens * micro * markup * CREDITS_PER_USD // _MICRO**3) for tokens, micro in components)
