"""What cannot start says in one line what is wrong, where, and what to do: `tollway serve`, and a command like others."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def refused(home: Path, *flags: str, command: tuple[str, ...] = ("serve",), **variables: str) -> tuple[int, str]:
    """(exit code, what it prints) of a start that must end by itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOLLWAY_")}
    environment |= {"TOLLWAY_HOME": str(home), "TOLLWAY_LOCAL_MODELS": "none", **variables}
    words = [sys.executable, "-m", "tollway", *command, *flags]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.returncode, done.stderr.strip()


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, said = refused(tmp_path / "file" / "home")
    assert code == 1
    assert said.startswith(f"error {tmp_path / 'file' / 'home'}: Not a directory. ")
    assert "TOLLWAY_HOME=/path tollway serve" in said


def test_a_command_in_such_a_home(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, said = refused(tmp_path / "file" / "home", "--json", command=("keys", "create"))
    assert code == 1
    assert said.startswith("error The database cannot be used at the moment. ")
    assert said.endswith(": Not a directory")


def test_a_port_that_somebody_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = refused(tmp_path, "--port", str(port))
    assert code == 1
    assert said == (
        f"error 127.0.0.1:{port} cannot be used: Address already in use. Stop what listens there, or choose another port: "
        "tollway serve --port 8081 (or TOLLWAY_PORT=8081)."
    )


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    code, said = refused(tmp_path, "--host", "192.0.2.1", "--port", "0")
    assert code == 1
    assert said.startswith("error 192.0.2.1:0 cannot be used: ")
    assert "`host` must be an address of this machine" in said


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("prot = 8081", "tollway.toml:1: `prot` is no setting. Did you mean `port`?"),
        ("port = 80 81", "tollway.toml: "),
        (
            '[upstreams.x]\nprovidr = "vllm"',
            "tollway.toml:2: upstreams.x.providr: there is no such field. Did you mean `provider`?",
        ),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, toml: str, says: str) -> None:
    (tmp_path / "tollway.toml").write_text(toml)
    code, said = refused(tmp_path)
    assert code == 2
    assert says in said


@pytest.mark.parametrize(("port", "says"), [("abc", "must be a whole number, not text"), ("99999", "must be at most 65535")])
def test_a_value_of_another_type(tmp_path: Path, port: str, says: str) -> None:
    code, said = refused(tmp_path, "--port", port)
    assert code == 2
    assert said.startswith(f"error port = '{port}' (from flag): ")
    assert says in said


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("host", "", "must not be empty"),
        ("first_grant_credits", "2000000000000001", "must be at most 2000000000000000"),
        ("unread_seconds_max", "2147484", "must be at most 1000000"),
        ("drain_seconds", "1e300", "must be at most 1000000"),
    ],
)
def test_a_value_that_could_not_be_lived_with(tmp_path: Path, name: str, value: str, says: str) -> None:
    code, said = refused(tmp_path, f"--{name.replace('_', '-')}", value)
    assert (code, says in said) == (2, True), said


def test_a_number_that_is_to_be_text(tmp_path: Path) -> None:
    (tmp_path / "tollway.toml").write_text("markup = 1.5\n")
    code, said = refused(tmp_path)
    assert (code, 'write "1.5", with quotation marks' in said) == (2, True)


def test_a_value_of_another_form(tmp_path: Path) -> None:
    code, said = refused(tmp_path, TOLLWAY_PUBLIC_URL="ai.example.org")
    assert code == 2
    assert said.startswith(
        "error public_url = 'ai.example.org' (from environment variable TOLLWAY_PUBLIC_URL): that cannot be. "
    )
    assert "such as `https://ai.example.org`" in said


def test_a_variable_that_is_no_setting(tmp_path: Path) -> None:
    assert refused(tmp_path, TOLLWAY_PROT="1") == (2, "error TOLLWAY_PROT is no setting. Did you mean `TOLLWAY_PORT`?")


def test_a_folder_without_a_name_is_not_the_one_that_one_is_in(tmp_path: Path) -> None:
    empty = "= '' (from environment variable {}): must not be empty."
    assert refused(tmp_path, TOLLWAY_HOME="") == (2, f"error home {empty.format('TOLLWAY_HOME')}")
    assert refused(tmp_path, TOLLWAY_MODELS_DIR="") == (2, f"error models_dir {empty.format('TOLLWAY_MODELS_DIR')}")


def test_a_secret_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.key").mkdir()
    assert refused(tmp_path, "--port", "0") == (1, f"error {tmp_path / 'secret.key'}: Is a directory")


@pytest.mark.parametrize("name", ["[/dim]", ":key:"])
def test_what_is_wrong_is_told_as_it_is(tmp_path: Path, name: str) -> None:
    code, said = refused(tmp_path, "--port", "0", "--default-model", name, TOLLWAY_LOCAL_MODELS="all")
    assert code == 1
    assert said.startswith(f"error {name} is neither a known model")
    assert said.endswith("Without a model of its own: TOLLWAY_LOCAL_MODELS=none tollway serve")


def test_nothing_is_left_to_import_for_the_thread_that_looks_whether_it_answers() -> None:
    """Workers are forked beside it; one that is forked in the midst of an import waits for that module forever."""
    look = "import sys, tollway.cli.serve as serve; before = set(sys.modules); serve._answers('localhost', 9, 0.1)"
    told = "; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", look + told], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


BROKEN = """
import sys
from tollway.cli import main, serve

def broken(*_: object, **__: object) -> None:
    raise OSError("it broke")

serve.serve_http = broken
sys.argv = ["tollway", "serve", "--port", "0"]
main()
"""


def test_the_first_key_is_shown_also_where_the_workers_cannot_start(tmp_path: Path) -> None:
    environment = os.environ | {"TOLLWAY_HOME": str(tmp_path), "TOLLWAY_LOCAL_MODELS": "none"}
    told = [
        subprocess.run([sys.executable, "-c", BROKEN], env=environment, capture_output=True, text=True, check=False).stderr
        for _ in range(2)
    ]
    assert "error it broke" in told[0]
    assert "  API key   tw_" in told[0]
    assert "tw_" not in told[1]


def test_no_key_is_made_where_something_else_of_the_first_start_fails(tmp_path: Path) -> None:
    lost = (
        "from tollway.people import People\nasync def lost(self): raise OSError('it broke')\nPeople.first_owner_link = lost\n"
    )
    environment = os.environ | {"TOLLWAY_HOME": str(tmp_path), "TOLLWAY_LOCAL_MODELS": "none"}
    for program, has_key in ((lost + BROKEN, False), (BROKEN, True)):
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
        assert ("  API key   tw_" in done.stderr) == has_key, done.stderr


TOLD = """
import os, signal, sys
from tollway.cli import main, serve
from tollway.engine import Supervisor

def told(function):
    def first_told(*arguments):
        os.kill(os.getpid(), signal.{sign})
        return function(*arguments)
    return first_told

{place} = told({place})
sys.argv = ["tollway", "serve", "--port", "0", "--log-format", "json"]
main()
"""
IN_THE_START, AT_THE_END = "serve._prepare_database", "Supervisor.stop"


@pytest.mark.parametrize(
    ("sign", "place", "until"),
    [
        ("SIGTERM", IN_THE_START, None),
        ("SIGHUP", IN_THE_START, '"configuration_reloaded"'),  # which is done once it runs
        ("SIGTERM", AT_THE_END, "is ready"),
        ("SIGINT", AT_THE_END, "is ready"),
    ],
)
def test_a_signal_at_an_odd_moment_is_heeded(tmp_path: Path, sign: str, place: str, until: str | None) -> None:
    environment = os.environ | {"TOLLWAY_HOME": str(tmp_path), "TOLLWAY_LOCAL_MODELS": "none"}
    command = [sys.executable, "-c", TOLD.format(sign=sign, place=place)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        if until is not None:
            assert any(until in line for line in process.stderr), "it has ended"
            process.terminate()
        rest = process.stderr.read()
        assert (process.wait(30), "Traceback" in rest, "is ready" in rest) == (0, False, False)
