"""Images of requests: what is accepted, what is refused, and that a refusal says what to do."""

import base64
import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tollway.errors import InvalidRequest, UnsupportedParameter
from tollway.providers.guarded_fetch import GuardedFetcher
from tollway.providers.images import IMAGE_BYTES_MAX, ImageInfo, ImageLoader, UnusableImage, sniff

PARAM = "messages[0].content[0].image_url.url"


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + b"\x08\x06\x00\x00\x00\x12\x34\x56\x78"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\xf7\x00\x00"


def jpeg(width: int, height: int, *segments: bytes, marker: int = 0xC0) -> bytes:
    frame = bytes([0xFF, marker]) + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8" + b"".join(segments) + frame + b"\xff\xda\x00\x0c" + bytes(10) + b"\xff\xd9"


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def webp(kind: bytes, body: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def webp_lossy(width: int, height: int) -> bytes:
    return webp(b"VP8 ", b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width | 1 << 14, height | 2 << 14) + bytes(4))


def webp_lossless(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14 | 1 << 28) + bytes(8))


def webp_extended(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp(b"VP8X", b"\x10\x00\x00\x00" + sides + bytes(4))


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


async def refusal(url: str, fetch: GuardedFetcher | None = None) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        await ImageLoader(fetch).load(url, param=PARAM)
    assert (caught.value.status, caught.value.param) == (400, PARAM)
    assert PARAM in caught.value.message
    return caught.value


MAKERS: list[tuple[str, Callable[[int, int], bytes]]] = [
    ("image/png", png),
    ("image/gif", gif),
    ("image/jpeg", jpeg),
    ("image/webp", webp_lossy),
    ("image/webp", webp_lossless),
    ("image/webp", webp_extended),
]

# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("media_type", "make"), MAKERS)
@given(width=st.integers(1, 16383), height=st.integers(1, 16383))
def test_sniff(media_type: str, make: Callable[[int, int], bytes], width: int, height: int) -> None:
    assert sniff(make(width, height)) == ImageInfo(media_type, width, height)


def test_sniff_large_sides() -> None:
    assert sniff(png(2**31 - 1, 1)).width == 2**31 - 1
    assert sniff(webp_extended(1 << 24, 5)) == ("image/webp", 1 << 24, 5)
    assert sniff(gif(65535, 65535)) == ("image/gif", 65535, 65535)
    assert sniff(b"GIF87a" + gif(7, 8)[6:]) == ("image/gif", 7, 8)


@pytest.mark.parametrize("marker", [*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)])
def test_sniff_jpeg_of_every_frame_kind(marker: int) -> None:
    assert sniff(jpeg(640, 480, marker=marker)) == ("image/jpeg", 640, 480)


@pytest.mark.parametrize(
    "segments",
    [
        pytest.param([segment(0xE0, b"JFIF\x00" + bytes(9)), segment(0xDB, bytes(65))], id="plain"),
        pytest.param([segment(0xE1, b"Exif\x00\x00" + jpeg(160, 120)[:400])], id="thumbnail"),
        pytest.param([segment(0xE2, bytes(65533))] * 255, id="large colour profile"),
        pytest.param([segment(0xC4, bytes(28)), segment(0xCC, bytes(2)), b"\xff\x01"], id="tables first"),
        pytest.param([b"\xff\xff\xff", segment(0xFE, b"\xff\xc0 in a comment"), b"\xff"], id="fill bytes"),
        pytest.param([segment(0xE0, b""), b"\x00\x00padding"], id="padding"),
    ],
)
def test_sniff_jpeg_skips_what_stands_before_the_frame(segments: list[bytes]) -> None:
    assert sniff(jpeg(640, 480, *segments)) == ("image/jpeg", 640, 480)


@pytest.mark.parametrize(("media_type", "make"), MAKERS)
def test_cut_off_header(media_type: str, make: Callable[[int, int], bytes]) -> None:
    whole = make(16, 16)
    needed = {"image/png": 33, "image/gif": 13, "image/jpeg": 11, "image/webp": 30}[media_type]
    for length in range(needed):
        with pytest.raises(UnusableImage):
            sniff(whole[:length])
    assert sniff(whole[:needed]).width == 16


@pytest.mark.parametrize(
    "data",
    [
        *(png(0, 5), png(5, 0), png(2**31, 5), png(5, 5).replace(b"IHDR", b"IDAT"), gif(0, 5), jpeg(5, 0), jpeg(0, 5)),
        *(webp_lossy(0, 5), webp(b"ALPH", bytes(20)), webp(b"VP8 ", bytes(20)), webp(b"VP8L", bytes(20))),
        *(b"\xff\xd8\xff\xda" + bytes(50), b"\xff\xd8\xff\xd9" + bytes(50), b"\xff\xd8\xff\xe0\x00\x01" + jpeg(5, 5)),
        *(b"\xff\xd8\xff\x00" + bytes(50), b"\xff\xd8\xff\xe0\xff\xff" + bytes(50), b"\xff\xd8" + jpeg(5, 5)),
    ],
)
def test_damaged_header(data: bytes) -> None:
    with pytest.raises(UnusableImage, match=r"is cut off or damaged: its (PNG|GIF|JPEG|WEBP) header cannot be read"):
        sniff(data)


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\xe0\x00\x02", b"\xff\x01", b"\x00"])
def test_endless_jpeg_header_is_given_up_soon(filling: bytes) -> None:
    data = b"\xff\xd8\xff\xe0\x00\x02" + filling * (IMAGE_BYTES_MAX // len(filling))
    started = time.process_time()
    with pytest.raises(UnusableImage):
        sniff(data)
    assert time.process_time() - started < 0.5


@given(st.one_of(st.binary(), *(st.binary().map(make(9, 9)[:14].__add__) for _, make in MAKERS)))
@example(b"")
def test_sniff_of_anything_is_an_answer(data: bytes) -> None:
    try:
        assert 0 not in sniff(data)
    except UnusableImage as error:
        assert str(error).endswith(".")  # noqa: PT017 - both ends are fine


# --- data URLs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("media_type", "make"), MAKERS)
async def test_loads_data_urls(media_type: str, make: Callable[[int, int], bytes]) -> None:
    data = make(300, 200)
    loader = ImageLoader(None)
    assert await loader.load(data_url(data, media_type), param=PARAM) == base64.b64encode(data).decode()
    assert await loader.read(data_url(data, media_type), param=PARAM) == ((media_type, 300, 200), data)


BASE64 = base64.b64encode(png(3, 2) + b"\xfb").decode()
assert BASE64.endswith("==")


@pytest.mark.parametrize(
    "url",
    [
        *(f"DATA:image/png;base64,{BASE64}", f"Data:;BASE64,{BASE64}", f"data:image/svg+xml;base64,{BASE64}"),
        *(f"data:image/png;charset=utf-8;name=a.png;base64,{BASE64}", f"data:nonsense;base64,{BASE64}"),
        *(f" data:image/png;base64,{BASE64}\n", f"data:image/png; base64, {BASE64}"),
        f"data:image/png;base64,{BASE64.rstrip('=')}",
        "data:image/png;base64," + "\r\n".join(BASE64[place : place + 16] for place in range(0, len(BASE64), 16)),
        "data:image/png;base64," + "".join(f"%{ord(character):02X}" for character in BASE64),
        "data:image/png;base64," + BASE64.replace("+", "%2b").replace("/", "%2F").replace("=", "%3D"),
    ],
)
async def test_sloppy_data_urls_are_mended(url: str) -> None:
    assert await ImageLoader(None).load(url, param=PARAM) == BASE64


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:image/png;base64,", "the image is empty"),
        ("data:image/png;base64,====", "the image is empty"),
        ("data:,", "must hold base64"),
        ("data:", "must hold base64"),
        ("data:image/png;base64", "must hold base64"),
        (f"data:image/png,{BASE64}", "must hold base64"),
        ("data:image/svg+xml,%3Csvg%20xmlns%3D%22http://www.w3.org/2000/svg%22/%3E", "must hold base64"),
        (f"data:image/png;base64,{BASE64[:20]}*{BASE64[21:]}", "not valid base64"),
        (f"data:image/png;base64,{BASE64[:20]}é{BASE64[21:]}", "not valid base64"),
        (f"data:image/png;base64,{BASE64[:20]}\x00{BASE64[20:]}", "not valid base64"),
        (f"data:image/png;base64,{BASE64[:20]}=={BASE64[20:]}", "not valid base64"),
        (f"data:image/png;base64,{BASE64[:20]}__--{BASE64[24:]}", "not valid base64"),
        ("data:image/png;base64,A", "not valid base64"),
        (f"data:image/png;base64,data:image/png;base64,{BASE64}", "not valid base64"),
        (data_url(png(3, 2)[:20]), "PNG header cannot be read"),
    ],
)
async def test_broken_data_urls(url: str, message: str) -> None:
    error = await refusal(url)
    assert error.code == "invalid_image"
    assert message in error.message


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\n<?xml version='1.0'?>\n<!-- a -->\n<svg/>", "SVG"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"<?xml version='1.0'?><feed/>", "XML"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "PDF"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00", "AVIF"),
        (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00", "video"),
        (b"BM\x36\x00\x0c\x00\x00\x00\x00\x00\x36\x00\x00\x00", "BMP"),
        (b"II*\x00\x08\x00\x00\x00", "TIFF"),
        (b"\x00\x00\x01\x00\x01\x00", "icon"),
        (b"PK\x03\x04\x14\x00", "ZIP"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b'{"error": "not found"}', "JSON"),
        (b"Not found", "text"),
        (bytes(range(100)), "unknown type"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "unknown type"),
    ],
)
async def test_other_types_are_named(data: bytes, name: str) -> None:
    error = await refusal(data_url(data))
    assert error.code == "invalid_image"
    assert name in error.message
    assert "PNG, JPEG, GIF and WEBP are supported." in error.message


async def test_size_cap() -> None:
    at_the_cap = png(5, 5) + bytes(IMAGE_BYTES_MAX - 33)
    assert len((await ImageLoader(None).read(data_url(at_the_cap), param=PARAM)).data) == IMAGE_BYTES_MAX
    for url in (data_url(at_the_cap + b"\x00"), "data:;base64," + "A" * 90_000_000):
        assert "larger than 20,000,000 bytes. Scale it down" in (await refusal(url)).message


@pytest.mark.parametrize(("media_type", "make"), MAKERS)
async def test_pixel_cap(media_type: str, make: Callable[[int, int], bytes]) -> None:
    assert await ImageLoader(None).load(data_url(make(10000, 5000)), param=PARAM)
    error = await refusal(data_url(make(10000, 5001)))
    assert error.code == "invalid_image"
    assert "10000 x 5001 pixels; at most 50 megapixels" in error.message


# --- other URLs -------------------------------------------------------------------------------------------------------

OTHERS = [
    *(
        "http://example.com/cat.png",
        "file:///etc/passwd",
        "ftp://example.com/cat.png",
        "gopher://127.0.0.1:6379/_",
        "C:\\cat.png",
    ),
    *("javascript:alert(1)", "blob:https://a.b/c", "cat.png", "/cat.png", "//example.com/cat.png", BASE64, "", "https", "é:a"),
]


class NoFetcher(GuardedFetcher):
    async def get(self, url: str, *, param: str) -> bytes:
        raise AssertionError(url, param)


class FixedFetcher(GuardedFetcher):
    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data

    async def get(self, url: str, *, param: str) -> bytes:
        assert (url, param) == ("HTTPS://example.com/cat", PARAM)
        return self.data


@pytest.mark.parametrize("url", OTHERS)
async def test_other_schemes(url: str) -> None:
    for fetch in (None, NoFetcher()):
        error = await refusal(url, fetch)
        assert error.code == "image_url_forbidden"
        assert "must be an https URL or a data URL" in error.message
        assert len(error.message) < 300


async def test_fetching_is_off() -> None:
    error = await refusal("https://example.com/cat.png")
    assert isinstance(error, UnsupportedParameter)
    assert error.code == "unsupported_parameter"
    assert "switched off" in error.message
    assert "data URL" in error.message


async def test_fetches_https() -> None:
    loaded = await ImageLoader(FixedFetcher(webp_lossy(4, 5))).read("HTTPS://example.com/cat", param=PARAM)
    assert loaded.info == ("image/webp", 4, 5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (png(5, 5) + bytes(IMAGE_BYTES_MAX), "larger than"),
        (png(9000, 9000), "9000 x 9000"),
        (b"<html>", "HTML"),
    ],
)
async def test_what_was_fetched_is_checked_too(data: bytes, message: str) -> None:
    error = await refusal("HTTPS://example.com/cat", FixedFetcher(data))
    assert error.code == "invalid_image"
    assert message in error.message
