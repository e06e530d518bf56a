"""What ids in paths, queries and headers look like: expressions for the whole of a text, of ASCII alone."""

from typing import Any

from tollway.catalog import MODEL_ID

__all__ = ["IDEMPOTENCY_KEY", "KEY_PREFIX", "MODEL_ID", "REQUEST_ID", "matching"]

REQUEST_ID = r"[A-Za-z0-9._:-]{1,128}"
"""A request id, an inference id, or a client request id."""
IDEMPOTENCY_KEY = "[!-~]{1,255}"
KEY_PREFIX = r"tw_[A-Za-z0-9]{9}"


def matching(pattern: str) -> dict[str, Any]:
    """The JSON Schema of what a pattern matches."""
    return {"type": "string", "pattern": f"^{pattern}$"}
