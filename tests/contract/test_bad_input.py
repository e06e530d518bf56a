"""Whatever is sent, the answer is exact: the right status, one shape, the parameter at fault, and never a 5xx."""

import gzip
import json
import socket
import time
from typing import Any
from urllib.parse import quote

import pytest
from tests.live import LOCAL_MODEL, LiveServer

SECONDS_MAX = 2.0
"""For refusals that cost nothing: they take about a millisecond, but the machine may be busy."""

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "Hi"}
HALF = "\ud800"  # of a surrogate pair: JSON can write it, UTF-8 cannot
MIB = 2**20

Response = tuple[int, dict[str, str], bytes]


def valid(**fields: Any) -> dict[str, Any]:
    """A request that would be answered, but for `fields`."""
    return {"model": LOCAL_MODEL, "messages": [USER], "max_tokens": 1, **fields}


def valid_with(text: str) -> bytes:
    """The same as bytes, with `text` put in after the last field."""
    return json.dumps(valid())[:-1].encode() + b", " + text.encode() + b"}"


def post(server: LiveServer, body: Any, **headers: str) -> Response:
    began = time.monotonic()
    response = server.request("POST", CHAT, body, {name.replace("_", "-"): value for name, value in headers.items()})
    assert response[0] == 200 or time.monotonic() - began < SECONDS_MAX
    return response


def check(response: Response, status: int, code: str, param: str | None = None, *, path: str = CHAT) -> str:
    """Everything about a refusal but its message, which is returned."""
    got, headers, raw = response
    assert got == status, raw.decode()
    assert headers["content-type"] == "application/problem+json; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    problem = json.loads(raw)
    assert list(problem) == ["title", "status", "message", "instance", "requestId", "timestamp", "error"]
    error = problem["error"]
    assert set(error) - {"data"} == {"name", "message", "type", "code", "param"}
    assert (problem["status"], error["code"], error["param"]) == (status, code, param)
    assert problem["requestId"] == headers["x-request-id"]
    assert problem["instance"] == path
    assert problem["message"] == error["message"] != ""
    message: str = problem["message"]
    return message


# --- content type and encoding ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"])
def test_what_is_not_sent_as_json_is_a_415(server: LiveServer, content_type: str) -> None:
    message = check(post(server, valid(), Content_Type=content_type), 415, "unsupported_media_type")

    assert "application/json" in message
    assert (content_type or "none") in message


def test_a_charset_beside_the_content_type_is_fine(server: LiveServer) -> None:
    assert post(server, valid(), Content_Type="Application/JSON; charset=utf-8")[0] == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip"])
def test_a_content_encoding_is_a_415(server: LiveServer, encoding: str) -> None:
    body = gzip.compress(json.dumps(valid()).encode())

    assert "uncompressed" in check(post(server, body, Content_Encoding=encoding), 415, "unsupported_media_type")


# --- size -------------------------------------------------------------------------------------------------------------


def exchange(server: LiveServer, headers: str, pieces: list[bytes]) -> tuple[Response, int]:
    """The response to a request that is written by hand, and how many bytes of the body the server let us send."""
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\nContent-Type: application/json\r\n{headers}"
    )
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"\r\n")
        connection.settimeout(0.5)
        try:
            for piece in pieces:
                connection.sendall(piece)
                sent += len(piece)
        except OSError:  # it has answered, and reads no more
            pass
        connection.settimeout(30)
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += connection.recv(65536)
        first, *lines = raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        response_headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = raw.partition(b"\r\n\r\n")[2]
        while len(body) < int(response_headers["content-length"]):
            body += connection.recv(65536)
    return (int(first.split()[1]), response_headers, body), sent


def test_a_second_host_is_a_400(server: LiveServer) -> None:
    body = json.dumps(valid()).encode()
    response, _ = exchange(server, f"Host: y\r\nContent-Length: {len(body)}\r\n", [body])
    assert "one Host header" in check(response, 400, "invalid_value", "Host")


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(server: LiveServer) -> None:
    response, _ = exchange(server, "Content-Length: 20000001\r\n", [])

    assert "20,000,000 bytes" in check(response, 413, "payload_too_large")


def test_a_body_that_turns_out_too_large_is_not_read_to_its_end(server: LiveServer) -> None:
    chunk = b"%x\r\n%s\r\n" % (MIB, b" " * MIB)
    response, sent = exchange(server, "Transfer-Encoding: chunked\r\n", [chunk] * 100)

    assert "20,000,000 bytes" in check(response, 413, "payload_too_large")
    assert sent < 40 * MIB


def test_a_body_of_exactly_the_limit_is_read(server: LiveServer) -> None:
    body = json.dumps(valid(temperature=3)).encode()

    check(post(server, body + b" " * (20_000_000 - len(body))), 400, "invalid_value", "temperature")


def test_a_key_is_asked_for_before_the_body_is_read(server: LiveServer) -> None:
    nobody = LiveServer(server.port, "tw_nobody", server.home, server.process, server.environment)
    response, _ = exchange(nobody, "Content-Length: 20000001\r\n", [])

    check(response, 401, "invalid_api_key")


# --- no request at all ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", 400, "invalid_value"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "invalid_value"),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 200_000, 431, "headers_too_large"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, "headers_too_large"),
    ],
    ids=["a blank before a colon", "TLS", "long", "many"],
)
def test_what_is_no_request_is_told_so_in_the_same_shape(server: LiveServer, sent: bytes, status: int, code: str) -> None:
    raw = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(sent)
        while data := connection.recv(65536):
            raw += data
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    check((int(first.split()[1]), headers, body), status, code, path="")
    assert headers["connection"] == "close"


# --- JSON -------------------------------------------------------------------------------------------------------------

BROKEN_JSON: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (b" \r\n\t ", "empty"),
    (b"{", "byte 1"),
    (b'{"model": "x",, }', "byte 14"),
    (b"{'model': 'x'}", "byte 1"),
    (json.dumps(valid()).encode() + b" {}", "byte"),
    (b'{"model": "x\n"}', "byte 12"),
    (b'{"model": "x\x00"}', "byte 12"),
    (b'{"model": "x" // comment\n}', "byte 14"),
    (b"\xef\xbb\xbf{}", "byte 0"),
    (json.dumps(valid()).encode("utf-16"), "byte 0"),
    (b"\x00" * 100, "byte 0"),
    (b'{"model": "caf\xe9"}', "byte 14"),
    (b'{"model": "\xed\xa0\x80"}', "byte 11"),
    (b'{"model": "\xc0\xaf"}', "byte 11"),
    (valid_with('"?": 1').replace(b"?", b"\xff"), "UTF-8"),
    (valid_with('"temperature": NaN'), "byte"),
    (valid_with('"temperature": -Infinity'), "byte"),
    (valid_with('"temperature": 01'), "byte"),
    (valid_with('"temperature": 0x1'), "byte"),
    (valid_with('"temperature": .5'), "byte"),
]


@pytest.mark.parametrize(("body", "place"), BROKEN_JSON, ids=lambda value: repr(value)[-40:])
def test_broken_json_is_a_400_that_says_where(server: LiveServer, body: bytes, place: str) -> None:
    assert place in check(post(server, body), 400, "invalid_json")


SURROGATES: list[dict[str, Any]] = [
    {"model": HALF},
    {"messages": [{"role": "user", "content": f"Hi {HALF}"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": HALF}]}]},
    {"messages": [{"role": HALF, "content": "Hi"}]},
    {"messages": [USER, {"role": "tool", "tool_call_id": HALF, "content": "Hi"}]},
    {"tools": [{"type": "function", "function": {"name": f"f{HALF}"}}]},
    {"tools": [{"type": "function", "function": {"name": "f", "description": HALF}}]},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {HALF: {}}}}}]},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": [HALF]}}}},
    {"stop": HALF},
    {"logit_bias": {HALF: 1}},
    {"user": HALF},
    {HALF: 1},
    {"temperature": HALF},
]


@pytest.mark.parametrize("fields", SURROGATES, ids=ascii)
def test_half_a_surrogate_pair_is_a_400(server: LiveServer, fields: dict[str, Any]) -> None:
    assert "surrogate" in check(post(server, valid(**fields)), 400, "invalid_json")


def test_a_whole_surrogate_pair_is_a_character(server: LiveServer) -> None:
    assert post(server, valid(messages=[{"role": "user", "content": "😀"}]))[0] == 200


@pytest.mark.parametrize(
    "text", ["\x00", "\x00\x01\x1b[2J\x7f", "\u2028\u202e\ufeff\uffff\U0010ffff", "\ue000\ue0010\ue0017\ue001"]
)
def test_any_character_may_stand_in_a_text(server: LiveServer, text: str) -> None:
    assert post(server, valid(messages=[{"role": "user", "content": text}], user=text, stop=text))[0] == 200


def nested(levels: int, opening: str, inner: str, closing: str) -> str:
    return opening * levels + inner + closing * levels


DEEP = 100_000
PARAMETERS = '"tools": [{"type": "function", "function": {"name": "f", "parameters": %s}}]'


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"[" * DEEP, "invalid_type", None),
        (valid_with('"zz": ' + nested(DEEP, "[", "", "]")), "invalid_json", None),
        (valid_with('"zz": ' + nested(DEEP, '{"a": ', "1", "}")), "invalid_json", None),
        (valid_with('"metadata": ' + nested(DEEP, '{"a": ', "1", "}")), "invalid_type", "metadata[...]"),
        (valid_with(PARAMETERS % ("[" * DEEP)), "invalid_type", "tools[0].function.parameters"),
        (valid_with(PARAMETERS % nested(DEEP, '{"not": ', "{}", "}")), "invalid_json", None),
        (valid_with('"messages": ' + nested(DEEP, "[", "", "]")), "invalid_type", "messages[0]"),
    ],
    ids=["body", "unknown array", "unknown object", "metadata", "parameters array", "parameters", "messages"],
)  # fmt: skip
def test_deep_nesting_is_a_400(server: LiveServer, body: bytes, code: str, param: str | None) -> None:
    check(post(server, body), 400, code, param)


def test_a_schema_that_is_nested_too_deeply_is_a_400_that_says_so(server: LiveServer) -> None:
    schema = json.loads(nested(100, '{"type": "array", "items": ', "{}", "}"))
    body = valid(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}})

    assert "deeper" in check(post(server, body), 400, "unsupported_parameter", "response_format.json_schema.schema")


# --- values -----------------------------------------------------------------------------------------------------------

NINES = "9" * 5000


@pytest.mark.parametrize(
    ("field", "code", "param"),
    [
        ('"temperature": 1e999', "invalid_value", "temperature"),
        (f'"temperature": {NINES}', "invalid_value", "temperature"),
        (f'"n": {NINES}', "invalid_value", "n"),
        ('"n": 18446744073709551616', "invalid_value", "n"),
        (f'"n": -{NINES}', "invalid_value", "n"),
        ('"n": 1.5', "invalid_type", "n"),
        ('"n": true', "invalid_type", "n"),
        (f'"max_tokens": {NINES}', "invalid_value", "max_tokens"),
        (f'"seed": {NINES}', "invalid_value", "seed"),
        ('"stream": "yes"', "invalid_type", "stream"),
        ('"logit_bias": {"-1": 1}', "invalid_value", "logit_bias"),
        ('"logit_bias": {"1١": 1}', "invalid_value", "logit_bias"),
        ('"temperature": 0, "temperature": 3', "invalid_value", "temperature"),
        ('"messages": 1', "invalid_type", "messages"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_that_does_not_fit_is_a_400_that_names_it(server: LiveServer, field: str, code: str, param: str) -> None:
    check(post(server, valid_with(field)), 400, code, param)


@pytest.mark.parametrize(
    "field", ['"max_completion_tokens": 1, "max_tokens": 1e308', '"seed": 1%s' % ("0" * 30), '"top_k": 99999999999999999999']
)
def test_a_value_beyond_every_machine_word_is_taken_for_what_it_means(server: LiveServer, field: str) -> None:  # fmt: skip
    assert post(server, valid_with(field))[0] == 200


def test_of_two_fields_with_one_name_the_last_counts(server: LiveServer) -> None:
    assert post(server, valid_with('"temperature": 1, "temperature": 0'))[0] == 200


def test_the_path_of_a_fault_leads_through_lists(server: LiveServer) -> None:
    messages = [USER, {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": 1}]}]

    message = check(post(server, valid(messages=messages)), 400, "invalid_type", "messages[1].content[1].text")

    assert "`str`" in message
    assert "`int`" in message


ENTRIES = ", ".join(f'"{number}": 1' for number in range(10_001))
TEXTS = ", ".join(['{"type": "text", "text": "x"}'] * 4097)
MESSAGES = '"messages": [{"role": "user", "content": %s}]'
LONG_TOOL = '"tools": [{"type": "function", "function": {"name": "f", "description": "%s"}}]'


@pytest.mark.parametrize(
    ("field", "code", "param"),
    [
        (f'"modalities": [{"[0], " * 300_000}[0]]', "invalid_value", "modalities"),
        (f'"logit_bias": {{{ENTRIES}}}', "invalid_value", "logit_bias"),
        (f'"metadata": {{{ENTRIES.replace(": 1", ": ``")}}}'.replace("`", '"'), "invalid_value", "metadata"),
        (ENTRIES, "invalid_value", None),
        (MESSAGES % f"[{TEXTS}]", "invalid_value", "messages[0].content"),
        (MESSAGES % f'"{"ab " * 5_000_000}"', "context_length_exceeded", "messages"),
        (MESSAGES % f'"{"<|im_start|>" * 1_000_000}"', "context_length_exceeded", "messages"),
        (LONG_TOOL % ("ab " * 300_000), "context_length_exceeded", "messages"),
        (LONG_TOOL % ("ab " * 5_000_000), "invalid_value", "tools"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_large_beyond_use_is_refused_before_it_costs_much(
    server: LiveServer, field: str, code: str, param: str | None
) -> None:
    check(post(server, valid_with(field)), 400, code, param)


# --- models and keys --------------------------------------------------------------------------------------------------


def test_an_unknown_model_is_a_404_that_names_close_ones(server: LiveServer) -> None:
    message = check(post(server, valid(model="gemini-2.5-flash-lite")), 404, "model_not_found", "model")

    assert "google/gemini-2.5-flash-lite-preview" in message


@pytest.mark.parametrize("name", ["m" * 1_000_000, "a\r\nb: c", "\x00", "../../etc/passwd", "<script>", "😀" * 1000])
def test_any_name_of_a_model_is_a_404(server: LiveServer, name: str) -> None:
    assert len(check(post(server, valid(model=name)), 404, "model_not_found", "model")) < 1000


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic dTpw", "Bearer sk-abc", "Bearer tw_é", "Bearer " + "x" * 60_000]
)
def test_what_is_no_key_is_a_401(server: LiveServer, header: str | None) -> None:  # fmt: skip
    headers = {"Content-Type": "application/json"} | ({} if header is None else {"Authorization": header})
    nobody = server.request("POST", CHAT, valid(), headers | {"Authorization": header or ""})

    check(nobody, 401, "invalid_api_key")
    assert nobody[1]["www-authenticate"].startswith("Bearer")


def test_a_mistyped_key_is_told_so(server: LiveServer) -> None:
    typo = server.key[:-1] + ("a" if server.key[-1] != "a" else "b")

    assert "typo" in check(post(server, valid(), Authorization=f"Bearer {typo}"), 401, "invalid_api_key")


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", "a b", "a" * 129, "é", "a,b", "a;b"])
def test_a_malformed_client_request_id_is_a_400(server: LiveServer, value: str) -> None:
    response = post(server, valid(), X_Client_Request_Id=value)

    check(response, 400, "invalid_value", "X-Client-Request-Id")
    assert "x-client-request-id" not in response[1]


def test_names_of_unknown_parameters_cannot_add_headers(server: LiveServer) -> None:
    names = ["a\r\nx-evil: 1", "b\n\nbody", "\r\n\r\n", "c\x00", "d, e", "é", "f"]
    status, headers, raw = post(server, valid(**dict.fromkeys(names, 1)))

    assert status == 200, raw.decode()
    assert "x-evil" not in headers
    told = headers["x-tollway-ignored-parameters"].split(", ")
    assert told == ["a%0D%0Ax-evil%3A%201", "b%0A%0Abody", "%0D%0A%0D%0A", "c%00", "d%2C%20e", "%C3%A9", "f"]


@pytest.mark.parametrize(
    ("names", "shown", "more"),
    [
        (["z" * 100_000], 1, 0),
        (["\U0001f600" * 101, "b"], 2, 0),
        ([f"parameter_{number:04}" for number in range(117)], 117, 0),
        ([f"parameter_{number:04}" for number in range(9_990)], 125, 9_865),
        (["\U0001f600" * 100, "\U0001f600" * 99, "c"], 1, 2),
    ],
    ids=["long", "long and wide", "many", "too many", "wide"],
)
def test_the_header_has_whole_names_of_unknown_parameters_and_says_how_many_more_there_are(
    server: LiveServer, names: list[str], shown: int, more: int
) -> None:
    status, headers, _ = post(server, valid(**dict.fromkeys(names, 1)))
    told = headers["x-tollway-ignored-parameters"]
    expected = [quote(name if len(name) <= 100 else name[:100] + "...") for name in names[:shown]]

    assert status == 200
    assert told.split(", ") == expected + [f"... and {more} more"] * bool(more)
    assert len(told) < 2050


# --- methods and paths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_a_405(server: LiveServer, method: str) -> None:
    response = server.request(method, CHAT)

    assert "POST" in check(response, 405, "method_not_allowed")
    assert response[1]["allow"] == "POST"


def test_head_is_a_405_without_a_body(server: LiveServer) -> None:
    status, headers, raw = server.request("HEAD", CHAT)

    assert (status, headers["allow"], raw) == (405, "POST", b"")


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/chat/completions/", "/v1/completions", "/v2/chat/completions", "/%00", "/%ff", "/..%2f"]
)
def test_an_unknown_path_is_a_404(server: LiveServer, path: str) -> None:  # fmt: skip
    assert "/v1" in check(server.request("POST", path, valid()), 404, "not_found", path=path)


@pytest.mark.parametrize("name", ["%ff%fe", "%ed%a0%80", "..%2f..%2fetc%2fpasswd", "a" * 5000, "%F0%9F%98%80", "a%20b"])
def test_any_path_of_a_model_is_a_404(server: LiveServer, name: str) -> None:
    path = f"/v1/models/{name}"

    check(server.request("GET", path), 404, "model_not_found", "model", path=path[:2000])


@pytest.mark.parametrize("path", ["/v1/models/%00", "/v1/models/a%00b", "/v1/usage/requests/%00", "/people/%00", "/%00"])
def test_nothing_lies_at_a_path_with_a_null_character(server: LiveServer, path: str) -> None:
    check(server.request("GET", path), 404, "not_found", path=path)


@pytest.mark.parametrize(
    "query", ["?id=%ff", "?include=%00&include", "?details[]=1&&&==", "?" + "a=1&" * 1000, "?id=" + "x" * 10_000]
)
def test_any_query_is_answered(server: LiveServer, query: str) -> None:  # fmt: skip
    assert server.request("GET", "/v1/models" + query)[0] == 200
