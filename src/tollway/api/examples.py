"""Examples of the documentation: the reference page's own request, and answers as they really look."""

from typing import Any

CHAT_REQUEST: dict[str, Any] = {
    "model": "google/gemini-2.5-flash-lite-preview",
    "messages": [{"role": "user", "content": "Hello"}],
}

_USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 11,
    "total_tokens": 20,
    "completion_tokens_details": None,
    "prompt_tokens_details": None,
}
_META = {"usage": {"credits_used": 11, "usd_spent": 0.0000055}}
_HEAD = {
    "id": "chatcmpl-V1StGXR8Z5jdHi6BmyT8kQ2w",
    "created": 1752482994,
    "model": "google/gemini-2.5-flash-lite-preview",
}

COMPLETION: dict[str, Any] = _HEAD | {
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello there! How can I help you today?",
                "refusal": None,
                "annotations": None,
                "audio": None,
                "tool_calls": None,
            },
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": _USAGE,
    "meta": _META,
    "object": "chat.completion",
}

CHUNK: dict[str, Any] = _HEAD | {
    "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None, "logprobs": None}],
    "object": "chat.completion.chunk",
}

KEY_REQUEST: dict[str, Any] = {
    "name": "nightly batch",
    "limit": {"retention": "day", "threshold": 2.5},
    "scopes": ["model:chat"],
    "models": ["google/gemini-2.5-flash-lite-preview"],
    "requests_per_minute": 60,
}

NEW_KEY: dict[str, Any] = {
    "data": {
        "name": "nightly batch",
        "kind": "api",
        "disabled": False,
        "prefix": "tw_9yAcVpQ2x",
        "scopes": ["model:chat"],
        "limit": {"retention": "day", "threshold": 2.5},
        "created_at": "2026-11-23T01:02:03.004Z",
        "updated_at": "2026-11-23T01:02:03.004Z",
        "monthly_usage": 0,
        "models": ["google/gemini-2.5-flash-lite-preview"],
        "expires_at": None,
        "last_used_at": None,
        "requests_per_minute": 60,
        "tokens_per_minute": None,
        "concurrency_max": None,
        "previous": None,
        "key": "tw_9yAcVpQ2xN0tArEa1kEyJu5tAnExamp1e000",
    }
}

PROBLEM: dict[str, Any] = {
    "title": "Not Found",
    "status": 404,
    "message": "The model `gemini-flash` does not exist or is not served here. `GET /v1/models` lists what is served.",
    "instance": "/v1/chat/completions",
    "requestId": "V1StGXR8Z5jdHi6BmyT8k",
    "timestamp": "2026-11-23T01:02:03.004Z",
    "error": {
        "name": "NotFoundException",
        "message": "The model `gemini-flash` does not exist or is not served here. `GET /v1/models` lists what is served.",
        "type": "invalid_request_error",
        "code": "model_not_found",
        "param": "model",
    },
}
