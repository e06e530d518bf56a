"""The reader of server-sent events: right under any split of the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollway.errors import BadGateway
from tollway.providers.sse import STRAY_BYTES_MAX, EventReader

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
FIELDS = [
    b"data: {}",
    b"data: ",
    b"data:x",
    b"data:  y",
    b"data",
    b"data:",
    b": ping",
    b":",
    b"event: e",
    b"id: 1",
    b"retry: 5",
]
OTHERS = [b"", b"{", b'"error": 1', b"dat", b"data: \xc3\xa9", b"data: \xff", b"data: \x0b\x0c\xc2\x85"]
PIECES = st.sampled_from([*FIELDS, b"", *OTHERS])


def read(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    reader = EventReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)] + reader.finish()
    return events, bytes(reader.stray)


def by_the_standard(lines: list[bytes]) -> list[bytes]:
    """The data of the events in these lines, written down from the standard; empty ones left out."""
    events, data = [], []
    for line in [*lines, b""]:
        if line in (b"data", b"data:"):
            data.append(b"")
        elif line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line:
            events.append(b"\n".join(data))
            data = []
    return [event for event in events if event]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_events_are_the_same_wherever_the_bytes_are_split(line_end: bytes) -> None:
    lines = [
        b"\xef\xbb\xbfdata: one",
        b"",
        b": ping",
        b"",
        b"event: x",
        b"data: two",
        b"data:three",
        b"",
        b"data: \xc3\xa9",
        b"",
    ]
    stream = line_end.join([*lines, b""])

    expected = ([b"one", b"two\nthree", b"\xc3\xa9"], b"")
    assert read([stream]) == expected
    assert read([stream[i : i + 1] for i in range(len(stream))]) == expected
    for first in range(len(stream)):
        for second in range(first, len(stream)):
            assert read([stream[:first], stream[first:second], b"", stream[second:]]) == expected


@given(st.lists(st.tuples(PIECES, LINE_ENDS), max_size=12), st.data())
def test_any_stream_under_any_split(written: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    # A CR before an empty line that ends in LF is one line end, not two lines.
    for i in range(1, len(written)):
        if written[i] == (b"", b"\n") and written[i - 1][1] == b"\r":
            written[i] = (b"", b"\r\n")
    stream = b"".join(line + end for line, end in written)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    whole = read([stream])

    assert whole[0] == by_the_standard([line for line, _ in written])
    assert read(chunks) == whole
    assert read([stream[i : i + 1] for i in range(len(stream))]) == whole


def test_an_event_is_there_as_soon_as_its_blank_line_is() -> None:
    reader = EventReader()

    assert reader.feed(b"data: 1\r\n\r") == [b"1"]
    assert reader.feed(b"\ndata: 2\r\r") == [b"2"]
    assert reader.feed(b"data: 3\n") == []
    assert reader.feed(b"\n") == [b"3"]
    assert reader.finish() == []


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r", b"\r\n"])
def test_a_last_event_without_its_blank_line_still_counts(ending: bytes) -> None:
    assert read([b"data: 1\n\ndata: 2" + ending])[0] == [b"1", b"2"]


def test_heartbeats_are_no_events() -> None:
    reader = EventReader()

    assert reader.feed(b": OPENROUTER PROCESSING\n\n:\n\ndata:\n\ndata: \n\n\n\n") == []
    assert not reader.stray


@pytest.mark.parametrize("stream", [b"data: \n\n", b"data: \n\ndata: x\n\n", b"data: x\n\ndata: \n\n"])
def test_an_event_without_data_is_none(stream: bytes) -> None:
    assert read([stream]) == read([stream[:7], stream[7:]]) == ([b"x"] if b"x" in stream else [], b"")


def test_plain_json_in_the_midst_of_a_stream_is_kept() -> None:
    reader = EventReader()

    assert reader.feed(b'data: 1\n\n[{\r\n  "error": {"code": 503}\r\n}]') == [b"1"]
    assert reader.finish() == []
    assert reader.stray == b'[{\n  "error": {"code": 503}\n}]\n'


@pytest.mark.parametrize("chunk", [b"x" * 1000, b"data: y\n" * 100, b"data:\n" * 100])
def test_an_event_without_end_is_refused_and_not_collected(chunk: bytes) -> None:
    reader = EventReader(event_bytes_max=5000)

    with pytest.raises(BadGateway):
        _ = [reader.feed(chunk) for _ in range(1000)]


def test_stray_lines_are_bounded() -> None:
    reader = EventReader()
    for _ in range(1000):
        reader.feed(b"garbage " * 100 + b"\n")

    assert 0 < len(reader.stray) <= STRAY_BYTES_MAX
