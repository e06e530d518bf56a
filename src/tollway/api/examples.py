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

BALANCE: dict[str, Any] = {
    "balance": 10_000_000,
    "lowBalance": False,
    "lowBalanceThreshold": 10_000,
    "lastUpdated": "2026-11-23T01:02:03.004Z",
    "autoDebitStatus": "disabled",
    "status": "current",
    "statusExplanation": "Balance is current and up to date",
    "held": 131_075,
    "available": 9_868_925,
}

_COST = {"usd": 0.00124, "credits": 2480}
_IDS = {"request_id": "V1StGXR8Z5jdHi6BmyT8k", "inference_id": "kT8ymB6iHdj5Z8RXGtS1V"}

TRANSACTIONS: dict[str, Any] = {
    "data": [
        {
            "created_at": "2026-11-23T01:02:03.004Z",
            "direction": "CHARGE",
            "type": "MODEL_USAGE",
            "amount": _COST,
            "model": "google/gemini-2.5-flash-lite-preview",
            "reference_id": _IDS["inference_id"],
            "request_id": _IDS["request_id"],
            "note": None,
        }
    ],
    "pagination": {"next_cursor": "kstB2sDkIsBBiRE", "has_more": True},
}

USAGE: dict[str, Any] = {
    "api_key_prefix": None,
    "start": "2026-11-22T01:02:03.004Z",
    "end": "2026-11-23T01:02:03.004Z",
    "spend": 1.04408,
    "currency": "USD",
    "requests": 842,
}

USAGE_DETAIL: dict[str, Any] = USAGE | {
    "models": [{"model": "google/gemini-2.5-flash-lite-preview", "spend": 1.04408, "requests": 842}],
    "groups": [
        {
            "day": "2026-11-22",
            "model": "google/gemini-2.5-flash-lite-preview",
            "spend": 1.04408,
            "tokens": {"input": 4_210_000, "output": 1_557_700, "total": 5_767_700},
            "requests": {"total": 850, "charged": 842, "succeeded": 840, "failed": 8},
        }
    ],
}

_FIGURES = {"requests": 840, "first_token_ms": {"p50": 212.4, "p95": 618.9}, "duration_ms": {"p50": 1480.2, "p95": 3911.0}}
LATENCY: dict[str, Any] = {
    "start": "2026-11-22T02:00:00.000Z",
    "end": "2026-11-23T02:00:00.000Z",
    "span_seconds": 3600,
    "model": None,
    "times": [{"start": "2026-11-23T01:00:00.000Z", **_FIGURES}],
    "models": [{"model": "google/gemini-2.5-flash-lite-preview", **_FIGURES}],
}

_LOG_ITEM = {
    "created": "2026-11-23T01:02:03.004Z",
    "status": "succeeded",
    "origin": "api",
    "model": "google/gemini-2.5-flash-lite-preview",
    "cost": _COST,
    "tokens": {"input": 5000, "output": 1850, "total": 6850, "cached": 0, "reasoning": 0},
    **_IDS,
    "client_request_id": "customer-42",
    "finish_reason": "stop",
    "error_code": None,
    "stream": True,
    "answered_by": "google/gemini-2.5-flash-lite-preview",
    "first_token_ms": 312,
    "duration_ms": 4127,
}

LOGS: dict[str, Any] = {
    "data": [_LOG_ITEM],
    "pagination": {"limit": 50, "offset": 0, "total": 1, "has_more": False, "next_cursor": None},
}

_ENTRY = {"price_version": "9e107d9d372bb682", "note": None}

RECEIPT: dict[str, Any] = {
    "data": {
        "request_id": _IDS["request_id"],
        "request": _LOG_ITEM,
        "route": "gemini/gemini-2.5-flash-lite",
        "attempts": 1,
        "flags": [],
        "entries": [
            {"number": 7, "kind": "hold", "created_at": "2026-11-23T01:02:03.005Z", "posted": 0, "held": 53_451} | _ENTRY,
            {"number": 8, "kind": "settle", "created_at": "2026-11-23T01:02:07.131Z", "posted": -2480, "held": -53_451}
            | _ENTRY,
        ],
        "price": {
            "version": "9e107d9d372bb682",
            "terms": {
                "markup_millionths": 1_000_000,
                "price": {"audio_prompt": "0.30", "cached_prompt": "0.01", "completion": "0.40", "prompt": "0.10"},
            },
        },
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
