"""Image URLs of a request as what an engine takes: checked bytes in base64.

The type comes from the first bytes, never from the URL, the data URL's media type or a Content-Type: callers and servers often
name it wrongly, and a decoder goes by the bytes. The size in pixels is read from the header before any decoder sees the image,
because a few kilobytes can unpack to gigabytes.
"""

import asyncio
import base64
import re
from contextvars import ContextVar
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from tollway.catalog import Route
from tollway.errors import InvalidRequest, UnsupportedParameter
from tollway.providers.guarded_fetch import GuardedFetcher
from tollway.wire.chat import ChatRequest, images_of

IMAGES_MAX = 16
IMAGE_BYTES_MAX = 20_000_000
IMAGES_BYTES_MAX = 40_000_000
"""Of all that are downloaded for one request."""
IMAGE_PIXELS_MAX = 50_000_000
DOWNLOAD_SECONDS_MAX = 30.0
"""For all images of a request."""

_INVALID = "invalid_image"
_SCHEME = re.compile(r"\s*([a-z][a-z0-9+.-]{0,30}):", re.IGNORECASE)
_PREFIX_CHARS_MAX = 1024
_PIECE_CHARS = 1 << 20  # a multiple of 4
# Real files have at most a few hundred segments (a colour profile takes up to 255); without a bound, a file of nothing but
# tiny segments would keep the event loop busy for seconds.
_JPEG_STEPS_MAX = 4096


def check_images(request: ChatRequest, route: Route, images_max: int = IMAGES_MAX) -> None:
    """Raises UnsupportedParameter for images to a model that does not see, and InvalidRequest for too many."""
    for count, (param, _) in enumerate(images_of(request), start=1):
        if count > images_max:
            raise InvalidRequest(f"A request may hold at most {images_max} images.", param=param)
        if "vision" not in route.capabilities:
            raise UnsupportedParameter(f"The model `{route.answers_as}` does not take images.", param=param)


class ImageInfo(NamedTuple):
    """What an image's header says; sides in pixels."""

    media_type: str
    width: int
    height: int


class LoadedImage(NamedTuple):
    """A checked image."""

    info: ImageInfo
    data: bytes


_at_hand: ContextVar[dict[str, LoadedImage] | None] = ContextVar("_at_hand", default=None)


class UnusableImage(ValueError):
    """Bytes that are no PNG, JPEG, GIF or WEBP with a readable header; the message completes "The image ..."."""


class ImageLoader:
    """Loads the images of requests. `fetch` None = https URLs are switched off; data URLs always work."""

    def __init__(self, fetch: GuardedFetcher | None) -> None:
        self._fetch = fetch

    async def load(self, url: str, *, param: str) -> str:
        """The image in base64: standard alphabet, padded, no `data:` prefix. Errors as `read`."""
        return base64.b64encode((await self.read(url, param=param)).data).decode("ascii")

    async def download(self, request: ChatRequest, route: Route, into: dict[str, LoadedImage]) -> float:
        """Downloads what `read` will be asked for by the route's provider and is not in `into` yet, by URL. From then on `read`
        finds it there, in the present task. A caller's slow servers must cost neither the upstream's time nor a place at it.

        Returns the seconds that it took; 0 = there was nothing to do. Raises as `read`.
        """
        if self._fetch is None or route.upstream.quirks.fetches_images:
            return 0.0
        missing = [
            (param, image.url)
            for param, image in images_of(request)
            if image.url not in into and (match := _SCHEME.match(image.url)) and match[1].lower() == "https"
        ]
        if not missing:
            return 0.0
        began_at = asyncio.get_running_loop().time()
        _at_hand.set(into)
        for param, url in missing:
            try:
                async with asyncio.timeout_at(began_at + DOWNLOAD_SECONDS_MAX):
                    into[url] = await self.read(url, param=param)
                if sum(len(image.data) for image in into.values()) > IMAGES_BYTES_MAX:
                    raise InvalidRequest(
                        f"`{param}`: the images of this request are larger than {IMAGES_BYTES_MAX:,} bytes together.",
                        param=param,
                        code=_INVALID,
                    )
            except TimeoutError:
                raise InvalidRequest(
                    f"`{param}`: the images of this request took longer than {DOWNLOAD_SECONDS_MAX:g} seconds to fetch. Send "
                    "them as data URLs.",
                    param=param,
                    code="image_fetch_failed",
                ) from None
        return asyncio.get_running_loop().time() - began_at

    async def read(self, url: str, *, param: str) -> LoadedImage:
        """The image behind a data URL or https URL, with its true type; at once where `download` has it already.

        Raises InvalidRequest naming `param`: `invalid_image` for what is no usable image, `image_url_forbidden` for a URL that
        is not followed, `image_fetch_failed` for one that led nowhere; UnsupportedParameter where fetching is off.
        """
        if (image := (_at_hand.get() or {}).get(url)) is not None:
            return image
        match = _SCHEME.match(url)
        scheme = match[1].lower() if match else None
        if match and scheme == "data":
            data = await _decode_data_url(url, match.end(), param)
        elif scheme != "https":
            found = f"`{scheme}:` URLs are not" if scheme else "This is neither, so it is not"
            raise InvalidRequest(
                f"`{param}` must be an https URL or a data URL (`data:image/png;base64,...`). {found} accepted.",
                param=param,
                code="image_url_forbidden",
            )
        elif self._fetch is None:
            raise UnsupportedParameter(
                f"`{param}`: image URLs are switched off here. Send the image itself as a data URL: "
                "`data:image/png;base64,...`.",
                param=param,
            )
        else:
            data = await self._fetch.get(url, param=param)
        return LoadedImage(_checked(data, param), data)


def sniff(data: bytes) -> ImageInfo:
    """The type and size of an image, from its header alone. Raises UnusableImage."""
    for media_type, magic, read_size in _FORMATS:
        if magic.match(data):
            size = read_size(data)
            if size is None or 0 in size:
                raise UnusableImage(f"is cut off or damaged: its {_label(media_type)} header cannot be read.")
            return ImageInfo(media_type, *size)
    raise UnusableImage(f"is {_guess(data)}. PNG, JPEG, GIF and WEBP are supported.")


def _checked(data: bytes, param: str) -> ImageInfo:
    if not data:
        raise InvalidRequest(f"`{param}`: the image is empty.", param=param, code=_INVALID)
    if len(data) > IMAGE_BYTES_MAX:
        raise _too_large(param)
    try:
        info = sniff(data)
    except UnusableImage as error:
        raise InvalidRequest(f"`{param}`: the image {error}", param=param, code=_INVALID) from None
    if info.width * info.height > IMAGE_PIXELS_MAX:
        raise InvalidRequest(
            f"`{param}`: the image has {info.width} x {info.height} pixels; at most {IMAGE_PIXELS_MAX // 1_000_000} megapixels "
            "are accepted. Scale it down.",
            param=param,
            code=_INVALID,
        )
    return info


def _too_large(param: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{param}`: the image is larger than {IMAGE_BYTES_MAX:,} bytes. Scale it down or compress it more.",
        param=param,
        code=_INVALID,
    )


# --- data URLs --------------------------------------------------------------------------------------------------------


async def _decode_data_url(url: str, start: int, param: str) -> bytes:
    """The bytes of `data:[type][;name=value...];base64,...`, of which `start` is the place after `data:`.

    Whitespace, percent-escapes and missing padding in the payload are mended; any other stray character is an error, because
    a decoder that skips it makes a different image of it. A large image takes a tenth of a second, so others get their turn.
    """
    comma = url.find(",", start, start + _PREFIX_CHARS_MAX)
    if comma < 0 or not "".join(url[start:comma].split()).lower().endswith(";base64"):
        raise InvalidRequest(
            f"`{param}`: a data URL must hold base64: `data:image/png;base64,...`.", param=param, code=_INVALID
        )
    payload = url[comma + 1 :]
    if len(payload) > IMAGE_BYTES_MAX * 4:  # all percent-escapes; no more can fit
        raise _too_large(param)
    if "%" in payload:
        payload = unquote_to_bytes(payload).decode("latin-1")
    payload = "".join(payload.split()).rstrip("=")
    if len(payload) * 3 // 4 > IMAGE_BYTES_MAX:
        raise _too_large(param)
    data = bytearray()
    try:
        if "=" in payload:
            raise ValueError("padding within")
        payload += "=" * (-len(payload) % 4)
        for place in range(0, len(payload), _PIECE_CHARS):
            data += base64.b64decode(payload[place : place + _PIECE_CHARS], validate=True)
            await asyncio.sleep(0)
    except ValueError:
        raise InvalidRequest(
            f"`{param}`: the data URL is not valid base64. Use the standard alphabet (`+` and `/`, not `-` and `_`) and send "
            "it whole.",
            param=param,
            code=_INVALID,
        ) from None
    return bytes(data)


# --- headers: each reader gives (width, height), or None for a header that is cut off or makes no sense ----------------


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 33 or data[8:16] != b"\x00\x00\x00\rIHDR":
        return None
    width, height = _big(data[16:20]), _big(data[20:24])
    return (width, height) if max(width, height) < 2**31 else None


def _gif_size(data: bytes) -> tuple[int, int] | None:
    return (_little(data[6:8]), _little(data[8:10])) if len(data) >= 13 else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walks the segments to the start of frame. A thumbnail has one too, but inside its own segment, which is skipped."""
    place = 2
    for _ in range(_JPEG_STEPS_MAX):
        place = data.find(b"\xff", place)  # decoders skip padding between segments, so this must as well
        if place < 0 or place + 9 > len(data):
            return None
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a segment
            place += 2
        elif marker < 0xC0 or marker in (0xD8, 0xD9, 0xDA):  # no marker; or the picture starts or ends without a frame
            return None
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _big(data[place + 7 : place + 9]), _big(data[place + 5 : place + 7])
        else:
            length = _big(data[place + 2 : place + 4])
            if length < 2:
                return None
            place += 2 + length
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 30:
        return None
    match data[12:16]:
        case b"VP8X":
            return _little(data[24:27]) + 1, _little(data[27:30]) + 1
        case b"VP8L" if data[20] == 0x2F:
            bits = _little(data[21:25])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 " if data[23:26] == b"\x9d\x01\x2a":
            return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF
    return None


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _label(media_type: str) -> str:
    return media_type.removeprefix("image/").upper()


_FORMATS = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n"), _png_size),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff"), _jpeg_size),
    ("image/gif", re.compile(rb"GIF8[79]a"), _gif_size),
    ("image/webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _webp_size),
)

# What people send instead, only to say so; the first match counts.
_OTHERS = (
    ("an SVG drawing", re.compile(rb"(?s)\s*<svg|\s*<\?xml.*?<svg", re.IGNORECASE)),
    ("an HTML page", re.compile(rb"\s*<(!doctype html|html|head|body|script)", re.IGNORECASE)),
    ("an XML document", re.compile(rb"\s*<\?xml")),
    ("a PDF document", re.compile(rb"%PDF-")),
    ("an AVIF image", re.compile(rb"(?s).{4}ftypavi[fs]")),
    ("a HEIC image", re.compile(rb"(?s).{4}ftyp(hei|hev|mif|msf)")),
    ("a video", re.compile(rb"(?s).{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI ")),
    ("a BMP image", re.compile(rb"(?s)BM.{4}\x00{4}")),
    ("a TIFF image", re.compile(rb"II\*\x00|MM\x00\*")),
    ("an icon", re.compile(rb"\x00\x00[\x01\x02]\x00")),
    ("a JPEG XL image", re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL ")),
    ("a JPEG 2000 image", re.compile(rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51")),
    ("a Photoshop file", re.compile(rb"8BPS")),
    ("a ZIP archive", re.compile(rb"PK\x03\x04")),
    ("gzip data", re.compile(rb"\x1f\x8b")),
    ("JSON", re.compile(rb"\s*[{\[]\s*[\"\]}]")),
    ("text", re.compile(rb"[\t\r\n\x20-\x7e]+\Z")),
)


def _guess(data: bytes) -> str:
    head = data[:1024]
    name = next((name for name, magic in _OTHERS if magic.match(head)), None)
    return f"no image of a supported type; it seems to be {name}" if name else "of an unknown type"
