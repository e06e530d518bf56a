"""What the fake Gemini says when no test has told it what: not wise, but always what was asked for.

Forced functions are called with arguments that fit their schemas, answers in JSON fit theirs, limits and stop sequences hold.
So real clients can be let loose on it.
"""

import json
import re
from typing import Any

HELLO = "Hello wörld"


def act(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of an answer. The body comes as Google's own parser reads it."""
    config = body.get("generationConfig", {})
    parts: list[dict[str, Any]] = []
    if config.get("thinkingConfig", {}).get("includeThoughts"):
        parts.append({"text": "The user wants an answer.", "thought": True})
    calls = _calls(body)
    finish = "STOP"
    if calls:
        parts += calls
    else:
        text, finish = _within(config, _text(body, config))
        parts += [{"text": piece} for piece in re.findall(r"\s*\S+", text)]
    prompt = len(re.findall(r"\w+", json.dumps(body["contents"])))
    thoughts = 5 if parts and parts[0].get("thought") else None
    events = []
    for place, part in enumerate(parts or [{}], start=1):
        candidate: dict[str, Any] = {"content": {"role": "model", **({"parts": [part]} if part else {})}}
        if place >= len(parts):
            candidate["finishReason"] = finish
        counts = {"promptTokenCount": prompt, "candidatesTokenCount": place, "thoughtsTokenCount": thoughts}
        usage = {name: count for name, count in counts.items() if count}
        events.append({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "fake", "responseId": "r1"})
    return events


def _said(body: dict[str, Any]) -> str:
    """The last turn's text."""
    return " ".join(part.get("text", "") for part in body["contents"][-1]["parts"])


def _calls(body: dict[str, Any]) -> list[dict[str, Any]]:
    declared = {function["name"]: function for tool in body.get("tools", []) for function in tool["functionDeclarations"]}
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    names = calling.get("allowedFunctionNames") or list(declared)
    said = _said(body).lower()
    if calling.get("mode") == "ANY":
        names = [name for name in names if name.lower() in said][:1] or names[:1]
    elif calling.get("mode") == "NONE" or any("functionResponse" in part for part in body["contents"][-1]["parts"]):
        names = []
    else:  # those that the user speaks of
        names = [name for name in names if any(len(word) > 2 and word in said for word in name.lower().split("_"))]
    calls = []
    for name in names:
        schema = declared[name].get("parametersJsonSchema", {"type": "object"})
        calls.append({"functionCall": {"name": name, "args": sample(schema, _Hints(_said(body)))}})
    return calls


def _text(body: dict[str, Any], config: dict[str, Any]) -> str:
    if config.get("responseMimeType") == "application/json":
        schema, hints = config.get("responseJsonSchema"), _Hints(_said(body))
        free = dict.fromkeys(hints.words or ["answer"], HELLO)
        return json.dumps(free if schema is None else sample(schema, hints), ensure_ascii=False)
    results = [part["functionResponse"]["response"] for part in body["contents"][-1]["parts"] if "functionResponse" in part]
    return f"It says: {json.dumps(results, ensure_ascii=False)}" if results else HELLO


def _within(config: dict[str, Any], text: str) -> tuple[str, str]:
    """The text up to the limit (a word is a token) and the first stop sequence, and the reason for its end."""
    finish = "STOP"
    words = re.findall(r"\s*\S+", text)
    most = config.get("maxOutputTokens", len(words))
    if len(words) > most:
        text, finish = "".join(words[:most]), "MAX_TOKENS"
    for stop in config.get("stopSequences", []):
        if stop in text:
            text, finish = text.partition(stop)[0], "STOP"
    return text, finish


class _Hints:
    """Words and numbers that the user gave, to be used where they fit."""

    def __init__(self, said: str) -> None:
        self.said = said
        self.numbers = [int(number) for number in re.findall(r"\d+", said)]
        self.words = re.findall(r"['\"“]([^'\"”]+)['\"”]", said)


def sample(schema: dict[str, Any], hints: _Hints, root: dict[str, Any] | None = None) -> Any:
    """A value that fits the schema, in the keywords that Gemini knows."""
    root = schema if root is None else root
    if "$ref" in schema:
        target: Any = root
        for step in schema["$ref"].removeprefix("#").strip("/").split("/"):
            target = target[step] if step else target
        return sample(target, hints, root)
    if "enum" in schema:
        return next((value for value in schema["enum"] if str(value).lower() in hints.said.lower()), schema["enum"][0])
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], hints, root)
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: sample(properties[name], hints, root) for name in properties}
    if kind == "array":
        return [sample(schema.get("items", {}), hints, root) for _ in range(int(schema.get("minItems", 1)))]
    if kind in ("integer", "number"):
        number = hints.numbers.pop(0) if hints.numbers else 1
        return int(min(max(number, schema.get("minimum", number)), schema.get("maximum", number)))
    return {"boolean": True, "null": None}.get(kind, hints.words[0] if hints.words else "Paris")
