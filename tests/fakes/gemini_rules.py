"""What Google refuses although its types allow it. A body comes here as Google's own parser reads it."""

import base64
import re
from collections.abc import Iterator
from typing import Any

IMAGE_MAGIC = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/webp": b"RIFF",
    "image/heic": b"",
    "image/heif": b"",
}
SCHEMA_KEYWORDS = frozenset({
    "$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems", "minItems",
    "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties", "required", "propertyOrdering",
})  # fmt: skip
THINKING_BUDGETS = {
    "gemini-2.5-flash-lite": (512, 24_576, True),
    "gemini-2.5-flash": (1, 24_576, True),
    "gemini-2.5-pro": (128, 32_768, False),
    "gemini-3.5-flash-lite": (1, 24_576, True),
}
FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")


class Refusal(Exception):
    """An error of Google's."""

    def __init__(self, status: int, canonical: str, message: str, details: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body: dict[str, Any] = {"code": status, "message": message, "status": canonical}
        if details:
            self.body["details"] = details


def broken_rules(model: str, body: dict[str, Any]) -> Iterator[Refusal]:
    """The refusals that the body deserves; the first one counts."""
    config = body.get("generationConfig", {})
    messages = [
        *_contents(body.get("contents", [])),
        *_turns(model, body.get("contents", [])),
        *_system(body),
        *_tools(body),
        *_config(model, config),
    ]
    if body.get("tools") and config.get("responseMimeType") == "application/json" and model.startswith("gemini-2"):
        messages.append("Function calling with a response mime type: 'application/json' is unsupported")
    for message in messages:
        yield Refusal(400, "INVALID_ARGUMENT", message)


def _contents(contents: list[dict[str, Any]]) -> Iterator[str]:
    if not contents:
        yield "* GenerateContentRequest.contents: contents is not specified"
    for c, content in enumerate(contents):
        if content.get("role") not in ("user", "model"):
            yield "Please use a valid role: user, model."
        if not content.get("parts"):
            yield f"* GenerateContentRequest.contents[{c}].parts: contents.parts must not be empty."
        for p, part in enumerate(content.get("parts", [])):
            yield from _part(part, f"contents[{c}].parts[{p}]")


def _part(part: dict[str, Any], path: str) -> Iterator[str]:
    data = {"text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult"}
    if len(data & part.keys()) != 1 or part.get("text") == "":
        yield f"* GenerateContentRequest.{path}.data: required oneof field 'data' must have one initialized field"
    if "fileData" in part:
        yield "Cannot fetch content from the provided URL."
    if blob := part.get("inlineData"):
        magic = IMAGE_MAGIC.get(blob.get("mimeType", ""))
        if magic is None:
            yield f"Unsupported MIME type: {blob.get('mimeType')}"
        elif not base64.b64decode(blob.get("data", "")).startswith(magic) or not blob.get("data"):
            yield "Unable to process input image. Please retry or report."
    if "functionResponse" in part and not isinstance(part["functionResponse"].get("response"), dict):
        yield f"* GenerateContentRequest.{path}.function_response.response: is required"


def _turns(model: str, contents: list[dict[str, Any]]) -> Iterator[str]:
    """Calls come after a user's turn, and are answered in the next one: as many, and by name."""
    calls: list[str] = []
    previous = ""
    for content in contents:
        parts = content.get("parts", [])
        answered = [part["functionResponse"]["name"] for part in parts if "functionResponse" in part]
        if len(answered) != len(calls):
            yield (
                "Please ensure that the number of function response parts is equal to the number of function call parts of "
                "the function call turn."
            )
        if sorted(answered) != sorted(calls) or (answered and len(answered) != len(parts)):
            yield "Please ensure that function response turn comes immediately after a function call turn."
        calls = [part["functionCall"]["name"] for part in parts if "functionCall" in part]
        if calls and (previous != "user" or content.get("role") != "model"):
            yield (
                "Please ensure that function call turn comes immediately after a user turn or after a function response turn."
            )
        signed = next((part.get("thoughtSignature") for part in parts if "functionCall" in part), None)
        if calls and not model.startswith("gemini-2") and not signed:
            yield "Function call is missing a thought_signature in functionCall parts."
        previous = content.get("role", "")
    if calls:
        yield (
            "Please ensure that the number of function response parts is equal to the number of function call parts of the "
            "function call turn."
        )


def _system(body: dict[str, Any]) -> Iterator[str]:
    if "systemInstruction" in body:
        parts = body["systemInstruction"].get("parts", [])
        if not parts or any(set(part) != {"text"} or not part["text"] for part in parts):
            yield "* GenerateContentRequest.system_instruction: only text is supported"


def _tools(body: dict[str, Any]) -> Iterator[str]:
    tools = body.get("tools", [])
    declared = [function for tool in tools for function in tool.get("functionDeclarations", [])]
    names = [function.get("name", "") for function in declared]
    if len(tools) > 1:
        yield "Multiple tools are supported only when they are all search tools."
    if len(set(names)) != len(names):
        yield "Duplicate function declaration found."
    for f, function in enumerate(declared):
        path = f"tools[0].function_declarations[{f}]"
        if not FUNCTION_NAME.fullmatch(function.get("name", "")):
            yield f"* GenerateContentRequest.{path}.name: Invalid function name."
        if not function.get("description"):
            yield f"* GenerateContentRequest.{path}.description: is required"
        if "parameters" in function and "parametersJsonSchema" in function:
            yield f"* GenerateContentRequest.{path}: only one of parameters and parameters_json_schema may be set"
        if "parametersJsonSchema" in function:
            yield from _schema(function["parametersJsonSchema"], f"{path}.parameters_json_schema")
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    allowed = calling.get("allowedFunctionNames", [])
    if allowed and calling.get("mode") not in ("ANY", "VALIDATED"):
        yield "allowed_function_names should only be set when the mode is ANY or VALIDATED."
    if calling.get("mode") in ("ANY", "VALIDATED") and not declared:
        yield "Function calling config is set without function_declarations."
    if set(allowed) - set(names):
        yield "Function calling config: allowed_function_names names a function that is not declared."


def _schema(schema: Any, path: str) -> Iterator[str]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield f"Invalid JSON schema at '{path}'."
        return
    for key, value in schema.items():
        if key not in SCHEMA_KEYWORDS:
            yield f"Invalid JSON payload received. Unknown name \"{key}\" at '{path}': Cannot find field."
        elif "$ref" in schema and not key.startswith("$"):
            yield f"At '{path}': beside $ref only keywords with a $ are allowed."
        elif key in ("properties", "$defs"):
            for name, part in value.items():
                yield from _schema(part, f"{path}.{key}.{name}")
        elif key in ("anyOf", "oneOf", "prefixItems"):
            for part in value:
                yield from _schema(part, f"{path}.{key}")
        elif key in ("items", "additionalProperties"):
            yield from _schema(value, f"{path}.{key}")
        elif key == "enum" and not all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in value):
            yield f"Invalid value at '{path}.enum': only strings and numbers."


def _config(model: str, config: dict[str, Any]) -> Iterator[str]:
    for name, least, most in (("temperature", 0, 2), ("topP", 0, 1), ("maxOutputTokens", 1, 65_536), ("topK", 1, 2**31)):
        if not least <= config.get(name, least) <= most:
            yield f"* GenerateContentRequest.generation_config.{name}: out of range, supported range is from {least} to {most}."
    if len(config.get("stopSequences", [])) > 5 or "" in config.get("stopSequences", []):
        yield "The number of stop_sequences must be at most 5, and none empty."
    if "presencePenalty" in config or "frequencyPenalty" in config:
        yield f"Penalty is not enabled for models/{model}"
    if "responseLogprobs" in config or "logprobs" in config:
        yield f"Logprobs is not enabled for models/{model}"
    if config.get("candidateCount", 1) != 1:
        yield "Multiple candidates is not enabled for this model"
    json_wanted = config.get("responseMimeType") == "application/json"
    if ("responseSchema" in config or "responseJsonSchema" in config) and not json_wanted:
        yield "response_schema needs response_mime_type: 'application/json'"
    if "responseJsonSchema" in config:
        yield from _schema(config["responseJsonSchema"], "generation_config.response_json_schema")
    if "thinkingConfig" in config:
        yield from _thinking(model, config["thinkingConfig"])


def _thinking(model: str, thinking: dict[str, Any]) -> Iterator[str]:
    if model not in THINKING_BUDGETS:
        yield "Thinking is not supported for this model"
        return
    least, most, can_stop = THINKING_BUDGETS[model]
    budget = thinking.get("thinkingBudget", -1)
    if budget == -1 or least <= budget <= most or (budget == 0 and can_stop):
        return
    yield f"The thinking_budget is out of range; supported values are integers from {least} to {most}."
