"""Requests in Gemini's words: each case of gemini/requests.json, and what is refused by gemini/refusals.json."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.contract.providers.driving import cases, chat_request, collect, gemini, gemini_provider, gemini_route

from tollway.errors import InvalidRequest, UnsupportedParameter
from tollway.metering import bound_for, credits_for
from tollway.providers.images import ImageLoader
from tollway.wire.chat import Usage

HERE = Path(__file__).parent / "gemini"
REQUESTS = cases(HERE / "requests.json")
REFUSALS = cases(HERE / "refusals.json")
GIF = "data:image/png;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def picture(url: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case["name"])
async def test_a_request_as_gemini_gets_it(case: dict[str, Any]) -> None:
    async with gemini(case.get("model", "gemini-2.5-flash-lite")) as (provider, fake, route):
        request = chat_request(**case["request"])

        assert provider.check(request, route) == case.get("ignored", [])
        await collect(provider, request, route)

        assert fake.complaints == []
        assert fake.bodies == [case["upstream"]]
        received = fake.received[0]
        assert received.path == f"/v1beta/models/{route.upstream_model}:streamGenerateContent"
        assert received.query == {"alt": "sse"}
        assert received.headers["x-goog-api-key"] == fake.key
        assert received.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case["name"])
async def test_what_gemini_cannot_honour_is_refused_before_it_is_asked(case: dict[str, Any]) -> None:
    async with gemini_provider() as provider:
        route = gemini_route("http://127.0.0.1:9", None, case.get("model", "gemini-2.5-flash-lite"))

        with pytest.raises(InvalidRequest) as caught:
            provider.check(chat_request(**case["request"]), route)

    error = caught.value
    assert (error.code, error.param) == (case["code"], case["param"])
    assert isinstance(error, UnsupportedParameter) == (case["code"] == "unsupported_parameter")
    assert error.message.endswith(".")


async def test_capabilities_of_the_route_count() -> None:
    async with gemini_provider() as provider:
        bare = gemini_route("http://127.0.0.1:9", None, capabilities=frozenset())
        tool = {"type": "function", "function": {"name": "f"}}

        with pytest.raises(UnsupportedParameter, match="images"):
            provider.check(chat_request(messages=picture(PNG)), bare)
        with pytest.raises(UnsupportedParameter, match="functions"):
            provider.check(chat_request(tools=[tool]), bare)
        assert provider.check(chat_request(tools=[tool], tool_choice="none"), bare) == []


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (GIF, "unsupported_parameter"),  # whatever the URL says that it is
        ("data:image/png;base64,bm8gaW1hZ2U=", "invalid_image"),
        ("http://example.com/a.png", "image_url_forbidden"),
        ("https://example.com/a.png", "unsupported_parameter"),  # fetching is off here
    ],
)
async def test_images_that_cannot_be_used_are_the_callers_to_mend(url: str, code: str) -> None:
    async with gemini() as (provider, fake, route):
        with pytest.raises(InvalidRequest) as caught:
            await collect(provider, chat_request(messages=picture(url)), route)

        assert (caught.value.code, caught.value.param) == (code, "messages[0].content[0].image_url.url")
        assert fake.received == []


async def test_images_together_have_a_limit() -> None:
    async with gemini_provider(ImageLoader(None), inline_bytes_max=150) as provider:
        route = gemini_route("http://127.0.0.1:9", None)

        with pytest.raises(InvalidRequest) as caught:
            await collect(provider, chat_request(messages=[*picture(PNG), *picture(PNG)]), route)

    assert (caught.value.code, caught.value.param) == ("invalid_image", "messages[1].content[0].image_url.url")


async def test_each_choice_is_a_call_of_its_own_with_its_own_seed() -> None:
    async with gemini() as (provider, fake, route):
        _, usage = await collect(provider, chat_request(n=10, seed=2**31 - 2), route)
        _, alone = await collect(provider, chat_request(), route)

        assert fake.complaints == []
        assert sorted(body["generationConfig"]["seed"] for body in fake.bodies[:10]) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 2**31 - 2]
        assert (usage.prompt_tokens, usage.completion_tokens) == (10 * alone.prompt_tokens, 10 * alone.completion_tokens)


async def test_a_model_may_have_a_limit_for_requests_without_one() -> None:
    async with gemini() as (provider, fake, route):
        limited = structs.replace(route, output_default=40)
        for request in (chat_request(), chat_request(max_tokens=70)):
            await collect(provider, request, limited)

        assert [body["generationConfig"]["maxOutputTokens"] for body in fake.bodies] == [40, 70]
        assert bound_for(chat_request(), [limited], 2000, 1_000_000).output_tokens == 40


async def test_no_answer_may_be_longer_than_what_is_held_for_it() -> None:
    async with gemini() as (provider, fake, route):
        short = structs.replace(route, output_max=30)
        for request in (chat_request(), chat_request(max_tokens=70), chat_request(max_tokens=7)):
            await collect(provider, request, short)

        assert [body["generationConfig"]["maxOutputTokens"] for body in fake.bodies] == [30, 30, 7]


@pytest.mark.parametrize("choices", [1, 5, 128])
def test_the_hold_covers_the_prompt_of_each_choice(choices: int) -> None:
    one, several = chat_request(max_tokens=1), chat_request(max_tokens=1, n=choices)
    route = gemini_route("http://127.0.0.1:9", None)

    single = bound_for(one, [route], 2000, 1_000_000)
    bound = bound_for(several, [route], 2000, 1_000_000)

    assert bound.prompt_tokens == choices * single.prompt_tokens
    usage = Usage(bound.prompt_tokens, choices, bound.prompt_tokens + choices)
    assert credits_for(usage, bound.tariff) <= bound.credits


@pytest.mark.parametrize("model", ["models/gemini-2.5-flash-lite", "gemini-2.5-flash-lite"])
async def test_the_upstreams_model_with_and_without_its_folder(model: str) -> None:
    async with gemini(model) as (provider, fake, route):
        await collect(provider, chat_request(), route)

        assert fake.received[0].path == "/v1beta/models/gemini-2.5-flash-lite:streamGenerateContent"
