"""What the supervisor tells an engine process."""

from typing import Literal

from msgspec import Struct

Speculation = Literal["none", "ngram_map_k"]


class ChildConfig(Struct, frozen=True):
    """One line of JSON on the process's stdin."""

    model_path: str
    projector_path: str | None
    port: int
    port_is_reserved: bool
    """The supervisor holds the port bound; we join it with SO_REUSEPORT."""
    api_key: str
    image_mark: str
    slots: int
    pool_tokens: int
    threads: int
    """0 = one per core."""
    http_threads: int
    speculation: Speculation
    parent_pid: int
