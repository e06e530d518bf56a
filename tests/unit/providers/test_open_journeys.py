"""What can be said of an answer while it is open who gives it: the headers of a stream that is slow to begin go out by then."""

import asyncio

from msgspec import structs
from tests.unit.providers.scripted import Bench, Scripted, answering, route, silent

from tollway.catalog import Quirks
from tollway.providers.base import Meter


async def test_all_that_may_have_no_effect_is_told() -> None:
    one = route("a")
    one = structs.replace(one, upstream=structs.replace(one.upstream, quirks=Quirks(extra_parameters=("top_a",))))
    bench = Bench(Scripted(a=silent(), b=answering()), one, route("b", priority=1))
    journey = bench.begin()
    told = [(journey.ignored, journey.takes("top_a"))]
    asking = asyncio.create_task(journey.answer(Meter(), lambda _: None))
    await asyncio.sleep(0.02)
    told.append((journey.ignored, journey.takes("top_a")))
    await asking
    told.append((journey.ignored, journey.takes("top_a")))
    assert told == [(("hint-of-a",), True), (("hint-of-a", "hint-of-b"), False), (("hint-of-b",), False)]
