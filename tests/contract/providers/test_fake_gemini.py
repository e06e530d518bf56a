"""The fake Gemini is no invention: Google's own client works with it, and it refuses what Google refuses."""

import base64
import re
from typing import Any

import aiohttp
import pytest
from google import genai
from google.genai import errors, types
from tests.fakes.faults import FAULTS
from tests.fakes.gemini import HELLO, KEY, FakeGemini, error_reply, event, signature, streamed, usage
from tests.fakes.gemini_rules import Refusal

# Google's client has a class of aiohttp's that aiohttp does not want to be inherited.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

MODEL = "gemini-2.5-flash-lite"
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
USER = [{"role": "user", "parts": [{"text": "Hi"}]}]
CALL = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}
RESULT = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"x": 1}}}]}


def client(fake: FakeGemini, key: str = KEY) -> genai.Client:
    options = types.HttpOptions(base_url=fake.url, retry_options=types.HttpRetryOptions(attempts=1))
    return genai.Client(api_key=key, http_options=options)


async def ask(fake: FakeGemini, contents: Any, config: types.GenerateContentConfig | None = None) -> Any:
    async with client(fake).aio as google:
        return await google.models.generate_content(model=MODEL, contents=contents, config=config)


async def test_googles_client_gets_an_answer() -> None:
    async with FakeGemini() as fake:
        answer = await ask(fake, "Hi", types.GenerateContentConfig(temperature=0, seed=1, system_instruction="Be brief."))

        assert answer.text == "Hello wörld"
        assert answer.candidates[0].finish_reason == types.FinishReason.STOP
        assert answer.usage_metadata.candidates_token_count == 2
        assert fake.complaints == []


async def test_googles_client_gets_a_stream() -> None:
    async with FakeGemini() as fake, client(fake).aio as google:
        stream = await google.models.generate_content_stream(model=MODEL, contents="Hi")
        pieces = [piece.text async for piece in stream]

        assert pieces == ["Hello", " wörld"]
        assert fake.complaints == []


async def test_googles_client_with_all_that_we_use() -> None:
    declaration = types.FunctionDeclaration(name="f", description="d", parameters_json_schema={"type": "object"})
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declaration])],
        tool_config=types.ToolConfig(
            function_calling_config=types.FunctionCallingConfig(
                mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["f"]
            )
        ),
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=1024),
        media_resolution=types.MediaResolution.MEDIA_RESOLUTION_LOW,
        max_output_tokens=10,
        stop_sequences=["END"],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    parts = [types.Part(text="Hi"), types.Part(inline_data=types.Blob(data=PNG, mime_type="image/png"))]
    call = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": signature()}
    async with FakeGemini() as fake:
        thought = {"text": "Hm.", "thought": True}
        fake.queue(streamed(event([thought]), event([call], finish="STOP", usage=usage(5, 6, 7))))
        answer = await ask(fake, types.Content(role="user", parts=parts), config)

        assert fake.complaints == []
        assert answer.function_calls[0].args == {"a": 1}
        assert answer.candidates[0].content.parts[1].thought_signature == b"thought"
        assert answer.usage_metadata.thoughts_token_count == 7


async def test_googles_client_with_a_schema() -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema={"type": "OBJECT"})
    async with FakeGemini() as fake:
        await ask(fake, "Hi", config)

        assert fake.complaints == []


@pytest.mark.parametrize("in_array", [True, False])
async def test_googles_client_reads_its_errors(in_array: bool) -> None:
    async with FakeGemini() as fake, client(fake).aio as google:
        refusal = Refusal(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.")
        fake.queue(error_reply(refusal, in_array=in_array), FAULTS["503"](streamed(*HELLO)))

        stream = await google.models.generate_content_stream(model=MODEL, contents="Hi")
        with pytest.raises(errors.ClientError) as caught:
            await anext(stream)
        assert caught.value.code == 429
        with pytest.raises(errors.ServerError):
            await google.models.generate_content(model=MODEL, contents="Hi")


async def test_googles_client_with_a_bad_key_and_a_retired_model() -> None:
    async with FakeGemini() as fake:
        async with client(fake, "wrong").aio as google:
            with pytest.raises(errors.ClientError, match="API key not valid"):
                await google.models.generate_content(model=MODEL, contents="Hi")
        async with client(fake).aio as google:
            with pytest.raises(errors.ClientError, match="not found"):
                await google.models.generate_content(model="gemini-2.5-flash-lite-preview-06-17", contents="Hi")
            assert [model.name async for model in await google.models.list()] == [f"models/{name}" for name in fake.models]


def config(**fields: Any) -> dict[str, Any]:
    return {"contents": USER, "generationConfig": fields}


def tools(**fields: Any) -> dict[str, Any]:
    return {"contents": USER, "tools": [{"functionDeclarations": [{"name": "f", "description": "d", **fields}]}]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "contents is not specified"),
        ({"contents": USER, "frob": 1}, 'Unknown name "frob"'),
        ({"contents": [{"role": "user", "parts": []}]}, "parts must not be empty"),
        ({"contents": [{"role": "user", "parts": [{"text": ""}]}]}, "oneof field 'data'"),
        ({"contents": [{"role": "system", "parts": [{"text": "x"}]}]}, "valid role"),
        ({"contents": [{"role": "user", "parts": [{"text": "x", "functionCall": {"name": "f"}}]}]}, "oneof"),
        ({"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/jpg", "data": "AAAA"}}]}]}, "MIME type"),
        ({"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}]}, "input image"),
        ({"contents": [*USER, CALL]}, "number of function response parts"),
        ({"contents": [*USER, CALL, *USER]}, "number of function response parts"),
        ({"contents": [*USER, CALL, RESULT, RESULT]}, "number of function response parts"),
        ({"contents": [CALL, RESULT]}, "immediately after a user turn"),
        ({"contents": [*USER, CALL, {"role": "user", "parts": [*RESULT["parts"], {"text": "x"}]}]}, "function response turn"),
        ({"contents": USER, "systemInstruction": {"parts": []}}, "system_instruction"),
        (config(temperature=2.5), "temperature"),
        (config(maxOutputTokens=70_000), "maxOutputTokens"),
        (config(maxOutputTokens=12.5), "Invalid value"),
        (config(seed=2**31), "Invalid value"),
        (config(stopSequences=["a"] * 6), "stop_sequences"),
        (config(presencePenalty=0), "Penalty is not enabled"),
        (config(responseLogprobs=True), "Logprobs is not enabled"),
        (config(candidateCount=2), "Multiple candidates"),
        (config(thinkingConfig={"thinkingBudget": 511}), "thinking_budget is out of range"),
        (config(responseJsonSchema={"type": "object"}), "response_mime_type"),
        (config(responseMimeType="application/json", responseJsonSchema={"pattern": "x"}), 'Unknown name "pattern"'),
        (config(responseMimeType="application/json", responseJsonSchema={"$ref": "#", "title": "x"}), "beside \\$ref"),
        ({**tools(), **config(responseMimeType="application/json")}, "response mime type"),
        (tools(name="1st"), "function name"),
        (tools(description=""), "description"),
        (tools(parameters={"type": "OBJECT", "additionalProperties": False}), 'Unknown name "additionalProperties"'),
        (tools(parametersJsonSchema={"const": 1}), 'Unknown name "const"'),
        ({**tools(), "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}}}, "ANY"),
        ({**tools(), "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}}}, "not declared"),
    ],
)
async def test_it_refuses_what_google_refuses(body: dict[str, Any], said: str) -> None:
    async with FakeGemini() as fake, aiohttp.ClientSession() as session:
        url = f"{fake.base_url}/models/{MODEL}:generateContent"
        async with session.post(url, json=body, headers={"x-goog-api-key": KEY}) as response:
            error = (await response.json())["error"]

        assert response.status == 400
        assert error["status"] == "INVALID_ARGUMENT"
        assert len(fake.complaints) == 1
        assert re.search(said, error["message"])


async def test_types_in_small_letters_are_taken_in_schemas() -> None:
    schema = {"type": "object", "properties": {"type": {"type": "string", "enum": ["object"]}}}
    async with FakeGemini() as fake, aiohttp.ClientSession() as session:
        url = f"{fake.base_url}/models/{MODEL}:generateContent"
        async with session.post(url, json=tools(parameters=schema), headers={"x-goog-api-key": KEY}) as response:
            assert response.status == 200, fake.complaints


@pytest.mark.parametrize("query", [{}, {"alt": "sse", "key": KEY}])
async def test_a_stream_needs_its_form_and_no_key_in_the_url(query: dict[str, str]) -> None:
    async with FakeGemini() as fake, aiohttp.ClientSession() as session:
        url = f"{fake.base_url}/models/{MODEL}:streamGenerateContent"
        async with session.post(url, params=query, json={"contents": USER}, headers={"x-goog-api-key": KEY}) as response:
            assert response.status == 400
