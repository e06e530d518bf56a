from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.asgi import call
from tests.installation import app_of, installed

from tollway.catalog import LocalModel, load_catalog

REFERENCE = "google/gemini-2.5-flash-lite-preview"
LOCAL_ID = "local/smollm2-135m-instruct"
SEEING = LocalModel("seer", "Seer", "Somebody", 4096, sees=True, thinks=True)
SMALL = LocalModel("smollm2-135m-instruct", "SmolLM2 135M Instruct", "Hugging Face", 2048, sees=False, thinks=False)


async def _ids(tmp_path: Path, query: str) -> list[str]:
    catalog = load_catalog([SMALL, SEEING], default_model=SMALL.name, stand_in=True)
    async with installed(tmp_path, catalog=catalog) as services:
        reply = await call(app_of(services), "GET", f"/v1/models?{query}")
    assert reply.status == 200
    return [item["id"].removeprefix("local/").partition("-")[0] for item in reply.json["data"]]


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/api/v1/models"])
async def test_the_list_needs_no_key_and_has_the_platforms_shape(tmp_path: Path, path: str) -> None:
    async with installed(tmp_path) as services:
        reply = await call(app_of(services), "GET", path)
    assert reply.status == 200
    assert reply.header("content-type") == "application/json"
    assert reply.header("cache-control") == "max-age=60"
    assert reply.json["object"] == "list"
    first, second = reply.json["data"]
    assert first == {
        "id": REFERENCE,
        "aliases": [],
        "type": "openai/chat-completions",
        "info": {
            "name": "Gemini 2.5 Flash-Lite Preview",
            "developer": "Google",
            "description": "Excels at high-volume, latency-sensitive tasks like translation and classification.",
            "contextLength": 2048,
            "outputMax": 2048,
            "releasedAt": "2025-06-17",
        },
        "tags": [],
        "created": 1750118400,
        "owned_by": "Google",
        "object": "model",
        "stand_in": True,
        "answered_by": LOCAL_ID,
    }
    assert (second["id"], second["aliases"]) == (LOCAL_ID, ["smollm2-135m-instruct"])
    assert "stand_in" not in second
    assert "answered_by" not in second


@pytest.mark.parametrize(
    ("query", "sections"),
    [
        ("", set()),
        ("include=pricing", {"pricing"}),
        ("include=pricing,%20MODALITIES", {"pricing", "modalities"}),
        ("include=capabilities&include=nonsense", {"capabilities"}),
        ("include=all", {"pricing", "modalities", "capabilities"}),
        ("details=true", {"pricing", "modalities", "capabilities"}),
        ("details=1", {"pricing", "modalities", "capabilities"}),
        ("details=0", set()),
    ],
)
async def test_sections_come_on_request(tmp_path: Path, query: str, sections: set[str]) -> None:
    async with installed(tmp_path) as services:
        reply = await call(app_of(services), "GET", f"/v1/models?{query}")
    for item in reply.json["data"]:
        assert {"pricing", "modalities", "capabilities"} & set(item) == sections


async def test_a_stand_in_is_described_by_what_really_answers(tmp_path: Path) -> None:
    async with installed(tmp_path, markup="1.5") as services:
        reply = await call(app_of(services), "GET", "/v1/models?details=true")
    first, second = reply.json["data"]
    assert first["modalities"] == {"input": ["text"], "output": ["text"]}
    assert "vision" not in first["capabilities"]
    assert first["pricing"] == second["pricing"]
    assert first["pricing"] == {
        "units": [
            {"name": "prompt", "measure": "token", "price": 0.015, "per": 1000000},
            {"name": "completion", "measure": "token", "price": 0.06, "per": 1000000},
            {"name": "cached_prompt", "measure": "token", "price": 0.0015, "per": 1000000},
            {"name": "audio_prompt", "measure": "token", "price": 0.015, "per": 1000000},
        ],
        "kind": "fixed",
        "currency": "USD",
        "dimensions": [],
        "variants": [],
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["google/gemini", "smollm2", "seer"]),
        (f"id={REFERENCE}", ["google/gemini"]),
        (f"id={quote(REFERENCE.upper(), safe='')}", ["google/gemini"]),
        ("id=seer", ["seer"]),
        ("id=seer,smollm2-135m-instruct", ["smollm2", "seer"]),
        ("id=seer&id=smollm2-135m-instruct", ["smollm2", "seer"]),
        ("id=nobody", []),
        ("id=", ["google/gemini", "smollm2", "seer"]),
        ("type=OpenAI/chat-completions", ["google/gemini", "smollm2", "seer"]),
        ("type=openai/embeddings", []),
        ("modalities=image", ["seer"]),
        ("modalities=text", ["google/gemini", "smollm2", "seer"]),
        ("input_modalities=IMAGE", ["seer"]),
        ("output_modalities=image", []),
        ("capabilities=vision,nonsense", ["seer"]),
        ("capabilities=tools&id=smollm2-135m-instruct", ["smollm2"]),
        ("capabilities=vision&id=smollm2-135m-instruct", []),
        ("tags=playground:chat", []),
        ("unknown=1", ["google/gemini", "smollm2", "seer"]),
        ("id=%FF%00%27%3B--", []),
    ],
)
async def test_filters_mean_or_within_and_and_across(tmp_path: Path, query: str, expected: list[str]) -> None:
    assert await _ids(tmp_path, query) == expected


async def test_an_unchanged_list_is_not_sent_again(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        app = app_of(services)
        first = await call(app, "GET", "/v1/models")
        tag = first.header("etag")
        assert tag is not None
        assert tag.startswith('W/"')
        for held in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            again = await call(app, "GET", "/v1/models", headers={"If-None-Match": held})
            assert (again.status, again.body) == (304, b"")
            assert again.header("etag") == tag
            assert again.header("cache-control") == "max-age=60"
        assert (await call(app, "GET", "/v1/models", headers={"If-None-Match": 'W/"other"'})).status == 200
        assert (await call(app, "GET", "/v1/models?details=1", headers={"If-None-Match": tag})).status == 200


@pytest.mark.parametrize("prefix", ["/v1/models/", "/models/", "/api/v1/models/"])
@pytest.mark.parametrize("id_", [REFERENCE, quote(REFERENCE, safe="")])
async def test_one_model_in_openais_shape(tmp_path: Path, prefix: str, id_: str) -> None:
    async with installed(tmp_path) as services:
        reply = await call(app_of(services), "GET", prefix + id_)
    assert reply.json == {
        "id": REFERENCE,
        "created": 1750118400,
        "owned_by": "Google",
        "object": "model",
        "stand_in": True,
        "answered_by": LOCAL_ID,
    }


async def test_one_model_by_alias(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        reply = await call(app_of(services), "GET", "/v1/models/smollm2-135m-instruct")
    assert reply.json == {"id": LOCAL_ID, "created": 0, "owned_by": "Hugging Face", "object": "model"}


async def test_one_model_in_the_platforms_shape(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        reply = await call(app_of(services), "GET", f"/model/{REFERENCE}")
    assert list(reply.json) == ["data", "object"]
    assert reply.json["object"] == "model"
    assert reply.json["data"]["id"] == REFERENCE
    assert {"pricing", "modalities", "capabilities"} <= set(reply.json["data"])


@pytest.mark.parametrize("path", ["/v1/models/google/gemini-2.5-flash", "/model/google/gemini-2.5-flash"])
async def test_an_unknown_model_names_close_ones(tmp_path: Path, path: str) -> None:
    async with installed(tmp_path) as services:
        reply = await call(app_of(services), "GET", path)
    assert reply.status == 404
    assert reply.json["error"]["code"] == "model_not_found"
    assert REFERENCE in reply.json["message"]


async def test_nothing_is_deprecated_and_the_tag_does_not_depend_on_the_time(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        app = app_of(services)
        reply = await call(app, "GET", "/v1/models/deprecations?status=deprecated&since=2026-01-01")
        assert reply.header("cache-control") == "max-age=300"
        body: dict[str, Any] = reply.json
        assert body.pop("generated_at").endswith("Z")
        assert body == {"data": [], "object": "list"}
        held = {"If-None-Match": reply.header("etag") or ""}
        assert (await call(app, "GET", "/v1/models/deprecations", headers=held)).status == 304


async def test_head_is_answered_like_get(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        assert (await call(app_of(services), "HEAD", "/v1/models")).status == 200
