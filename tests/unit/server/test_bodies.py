import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollway.server.bodies import Chunks
from tollway.server.heads import Refused


def decoded(*pieces: bytes) -> tuple[bytes, bytes | None]:
    """The body, and what came behind it."""
    chunks, body = Chunks(), b""
    for number, piece in enumerate(pieces):
        body += chunks.feed(piece)
        if chunks.rest is not None:
            return body, chunks.rest + b"".join(pieces[number + 1 :])
    return body, None


WHOLE = b"5;a=b\r\nhello\r\n00b\r\n big\r\nworld\r\n0\r\nX: y\r\nZ:\r\n\r\nGET /"


def test_a_body_cut_anywhere() -> None:
    for first in range(len(WHOLE)):
        for second in (first, first + 1, first + 7):
            body, rest = decoded(WHOLE[:first], WHOLE[first:second], WHOLE[second:])
            assert (body, rest) == (b"hello big\r\nworld", b"GET /")
    chunks = Chunks()
    every = [chunks.feed(WHOLE[at : at + 1]) for at in range(len(WHOLE) - len(b"GET /"))]
    assert (b"".join(every), chunks.rest) == (b"hello big\r\nworld", b"")


@given(st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.integers(0, 300), max_size=5), st.binary(max_size=10))
def test_any_chunks_cut_anywhere(pieces: list[bytes], cuts: list[int], behind: bytes) -> None:
    sent = b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    places = sorted(min(cut, len(sent)) for cut in cuts)
    parts = [sent[a:b] for a, b in zip([0, *places], [*places, len(sent)], strict=True)]
    parts[-1] += behind
    assert decoded(*parts) == (b"".join(pieces), behind)


@pytest.mark.parametrize(
    "sent",
    [
        b"-1\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"\r\n",
        b"5\nhello\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"ffffffffffffffff\r\nx",
        b"5;\0\r\nhello\r\n",
        b"5;" + b"a" * 300,
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX: y\n\r\n\r\n",
        b"0\r\nX: " + b"y" * 10_000,
        b"g\r\n",
    ],
)
def test_what_is_no_chunk_is_refused_wherever_it_is_cut(sent: bytes) -> None:
    with pytest.raises(Refused):
        decoded(sent)
    with pytest.raises(Refused):
        decoded(*[sent[at : at + 1] for at in range(len(sent))])
