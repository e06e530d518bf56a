"""How long the tests wait for their upstreams. Others use the machine too: only a time that must run out is short."""

from msgspec import structs

from tollway.catalog import Limits

ONE_TRY = Limits(first_token_seconds=20, between_tokens_seconds=20, total_seconds=60, attempts_max=1, breaker_failures=0)
BRIEF = structs.replace(ONE_TRY, first_token_seconds=1, between_tokens_seconds=1)


def limits_for(fault: str) -> Limits:
    """Brief ones for the faults that end with nothing but the caller's patience."""
    return BRIEF if fault.startswith(("stall", "heartbeats")) else ONE_TRY
