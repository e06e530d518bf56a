"""Style sheet, scripts and icon: served under a path that changes with what is in them, and kept by browsers for good."""

import functools
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from starlette.responses import Response

from tollway.errors import NotFound

if TYPE_CHECKING:
    from tollway.web.frame import Visit

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_FOR_GOOD = "public, max-age=31536000, immutable"


@functools.cache
def _files() -> dict[str, bytes]:
    folder = resources.files(__package__).joinpath("static")
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir(), key=lambda file: file.name)}


@functools.cache
def version() -> str:
    """One hash over all files, so that modules that import each other by name always fit together."""
    digest = hashlib.blake2b(digest_size=8)
    for name, content in _files().items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def url(name: str) -> str:
    """The path of a file. Raises KeyError for one that is not there: a template's typo must not reach a browser."""
    if name not in _files():
        raise KeyError(name)
    return f"/static/{version()}/{name}"


async def serve(visit: "Visit") -> Response:
    """A file. One that is asked for by another version's path (in the middle of an upgrade) is served, but not kept."""
    name = visit.request.path_params["name"]
    content = _files().get(name)
    if content is None:
        raise NotFound("There is no such file.")
    current = visit.request.path_params["version"] == version()
    headers = {
        "cache-control": _FOR_GOOD if current else "no-cache",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
    }
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)
