"""`tollway chat`: an answer in the terminal, and a line that helps where there is none."""

import http.server
import shlex
import signal
import subprocess
import sys
import threading

import pytest
from tests.live import MODEL, LiveServer, free_port


def chat(server: LiveServer, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tollway", "chat", *arguments]
    environment = server.environment | {"TOLLWAY_PORT": str(server.port)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_an_answer_comes_without_a_key_and_tells_its_cost(server: LiveServer) -> None:
    done = chat(server, "Say hello.", "--max-tokens", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert " 5 tokens, " in done.stderr
    assert "credits" in done.stderr
    assert "tollway chat" not in server.cli("keys", "list"), "the key that was made for it is gone"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--key", "tw_nonsense"), "This is not a Tollway API key"),
        (("--model", "nobody"), "The model `nobody` does not exist or is not served here."),
        (("--max-tokens", "0"), "max_tokens"),
        (("--url", "http://127.0.0.1:1/v1", "--key", "tw_x"), "Nothing answers at http://127.0.0.1:1/v1."),
        (("--url", "http://127.0.0.1:1/v1"), "An API key is needed"),
    ],
)
def test_what_goes_wrong_is_one_line(server: LiveServer, arguments: tuple[str, ...], says: str) -> None:
    done = chat(server, "Hello", *arguments)
    assert done.returncode in {1, 2}
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert says in line


def test_something_else_that_answers_is_told(server: LiveServer) -> None:
    port = free_port()
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        done = chat(server, "Hello", "--url", f"http://127.0.0.1:{port}", "--key", "tw_x", "--model", MODEL)
        other.shutdown()
    assert done.returncode == 1
    assert f"http://127.0.0.1:{port} answers 501, and not as this API would." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_conversation_ends_by_ctrl_c_while_it_waits_for_words_and_its_key_is_gone(server: LiveServer) -> None:
    command = [sys.executable, "-m", "tollway", "chat", "--max-tokens", "5"]
    environment = server.environment | {"TOLLWAY_PORT": str(server.port)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as chatting:
        assert chatting.stdin
        assert chatting.stderr
        chatting.stdin.write("Say hello.\n")
        chatting.stdin.flush()
        assert "credits" in chatting.stderr.readline()
        assert chatting.stderr.read(len("you>")) == "you>"
        chatting.send_signal(signal.SIGINT)
        try:
            assert chatting.wait(30) == 130
        finally:
            chatting.kill()
    assert "tollway chat" not in server.cli("keys", "list")


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_without_anybody_to_read_from_it_says_so(arguments: tuple[str, ...]) -> None:
    command = f"exec {shlex.quote(sys.executable)} -m tollway chat {' '.join(arguments)} <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "standard input is closed" in line
