"""The files in deploy/ fit the service: the unit, the image, and the proxies in front of it."""

import configparser
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from tests.live import free_port, serving

from tollway.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "tollway.service"
CONTAINERFILE = DEPLOY / "Containerfile"


def ran(*command: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    arguments = [str(each) for each in command]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, env=os.environ | environment)


# --- systemd ----------------------------------------------------------------------------------------------------------


def unit() -> dict[str, list[str]]:
    """Every value of each option of [Service]."""
    values: dict[str, list[str]] = {}
    for line in UNIT.read_text().partition("[Service]")[2].partition("[Install]")[0].splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            values.setdefault(name, []).append(value)
    return values


def test_the_unit_fits_the_service() -> None:
    parser = configparser.ConfigParser(strict=False, delimiters="=", interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    assert parser.sections() == ["Unit", "Service", "Install"]
    service = unit()
    assert service["ExecStart"][0].endswith("/tollway serve")
    assert "-HUP" in service["ExecReload"][0]
    assert service["RestartForceExitStatus"] == ["SIGHUP"], "a reload that comes too early must not be the end of the service"
    # answers may finish, workers have 5 s to end, and so have the engines
    assert int(service["TimeoutStopSec"][0]) >= Settings().drain_seconds + 10
    variables = dict(each.split("=") for each in service["Environment"][0].split())
    assert {name.removeprefix("TOLLWAY_").lower() for name in variables} <= set(Settings.__struct_fields__)
    assert variables["TOLLWAY_HOME"] == f"/var/lib/{service['StateDirectory'][0]}"
    assert service["User"] != ["root"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/opt/tollway/.venv/bin/tollway", "/bin/true")
    here = tmp_path / "tollway.service"
    here.write_text(re.sub(r"^(User|Group)=tollway$", r"\1=root", text, flags=re.MULTILINE))
    verified = ran("systemd-analyze", "verify", here)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    judged = ran("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", here)  # of 100; 0 is best
    assert judged.returncode == 0, judged.stdout[-500:]


def test_the_guide_shows_the_same_files_in_short() -> None:
    guide = (ROOT / "src/tollway/web/guide/self-hosting.md").read_text()
    files = {"ini": UNIT, "nginx": DEPLOY / "nginx" / "tollway.conf", "caddy": DEPLOY / "caddy" / "Caddyfile"}
    for language, file in files.items():
        [shown] = re.findall(rf"^```{language}\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
        lines = {line.strip() for line in shown.replace("http://127.0.0.1:8080", "http://tollway").splitlines()}
        assert lines - {line.strip() for line in file.read_text().splitlines()} == set()


@pytest.mark.parametrize("page", ["docs/operating.md", "src/tollway/web/guide/self-hosting.md"])
def test_commands_have_the_environment_of_the_service(page: str, tmp_path: Path) -> None:
    """With `sudo` and `runuser` that stay who we are, and a `tollway` that says what it was given."""
    (function,) = re.findall(r"^(tollway\(\) \{\n.*?^\}\n)", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    said = tmp_path / "tollway"
    for path, text in ((tmp_path / "sudo", '"$@"'), (tmp_path / "runuser", 'shift 3; exec "$@"'), (said, SAYS)):
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    file = tmp_path / "environment"
    function = function.replace("/etc/tollway/environment", str(file)).replace("/opt/tollway/.venv/bin/tollway", str(said))
    script = function + "tollway credits grant 5USD --note 'two words'\n"
    search = f"{tmp_path}:{os.environ['PATH']}"

    assert ran("bash", "-c", script, PATH=search).stdout == "/var/lib/tollway||credits,grant,5USD,--note,two words,\n"
    file.write_text("# the database\nTOLLWAY_DATABASE_URL='postgresql://u:p@h/d?sslmode=require&host=/run'\n")
    told = ran("bash", "-c", script, PATH=search)
    assert told.stdout.startswith("/var/lib/tollway|postgresql://u:p@h/d?sslmode=require&host=/run|credits"), told.stderr


SAYS = 'printf "%s|%s|" "$TOLLWAY_HOME" "$TOLLWAY_DATABASE_URL"; printf "%s," "$@"; echo'


# --- container --------------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", CONTAINERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1].strip()) for line in text.splitlines() if line.strip()]


def values(name: str) -> list[str]:
    return [value for instruction, value in instructions() if instruction == name]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = ran(hadolint, CONTAINERFILE)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_nobody_special_and_holds_no_secret() -> None:
    last = [index for index, (name, _) in enumerate(instructions()) if name == "FROM"][-1]
    running = dict(instructions()[last:])
    uid = int(running["USER"].split(":")[0])
    assert uid >= 1000
    assert json.loads(running["ENTRYPOINT"]) == ["tollway"]  # no shell between SIGTERM and the service
    assert values("ADD") == values("ARG") == []
    names = re.findall(r"(\w+)=", " ".join(values("ENV")))
    assert not [name for name in names if re.search("KEY|SECRET|PASSWORD|TOKEN|URL", name)]
    settings = {name.removeprefix("TOLLWAY_").lower() for name in names if name.startswith("TOLLWAY_")}
    assert settings <= set(Settings.__struct_fields__)
    installs = [value for value in values("RUN") if "pip install" in value]
    assert all("--no-cache-dir" in value and ("--require-hashes" in value or "--no-deps" in value) for value in installs)
    assert all(re.search(r":\d", image.split(" ")[0]) for image in values("FROM"))


def test_the_image_is_told_well_by_its_health_check(tmp_path: Path) -> None:
    (check,) = values("HEALTHCHECK")
    command = json.loads(check.partition("CMD")[2])
    command[0] = sys.executable
    with serving(tmp_path / "home", tmp_path / "models", local_models="none") as live:
        assert ran(*command, TOLLWAY_PORT=str(live.port)).returncode == 0
    assert ran(*command, TOLLWAY_PORT=str(free_port())).returncode != 0


def test_what_the_image_is_made_of_is_enough(tmp_path: Path) -> None:
    """The steps of its build on the files that it copies, and on no others."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    context, target = tmp_path / "context", tmp_path / "target"
    context.mkdir()
    copied = [name for value in values("COPY") if not value.startswith("--from") for name in shlex.split(value)[:-1]]
    assert copied
    for name in copied:
        assert any(fnmatch.fnmatch(name, pattern) for pattern in allowed), f"{name} is left out by .dockerignore"
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            (context / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, context / name)
    (step,) = [value for value in values("RUN") if "--no-deps" in value]
    arguments = shlex.split(step.partition("install")[2])
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install")
    built = subprocess.run(
        [*pip, "--quiet", "--target", target, *arguments], cwd=context, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    installed = {str(path.relative_to(target)) for path in target.rglob("*") if "__pycache__" not in path.parts}
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*") if "__pycache__" not in path.parts}
    assert {name for name in sources - installed if ".egg-info" not in name} == set()
    program = "import tollway; from tollway.web import docs; docs.documents(); print(tollway.__file__)"
    seen = ran(sys.executable, "-c", program, PYTHONPATH=str(target))
    assert seen.stdout.startswith(str(target)), seen.stderr


def test_the_composition_gives_the_service_what_it_needs() -> None:
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    tollway = services["tollway"]
    assert (DEPLOY / tollway["build"]["context"] / tollway["build"]["dockerfile"]).resolve() == CONTAINERFILE
    assert all(port.startswith("127.0.0.1:") for port in tollway["ports"])
    assert [volume.split(":")[1] for volume in tollway["volumes"]] == values("VOLUME")
    assert int(tollway["stop_grace_period"].removesuffix("s")) >= Settings().drain_seconds + 10
    for service in services.values():
        for name, value in service["environment"].items():
            if re.search("KEY|PASSWORD|URL", name):
                assert "${" in value, f"{name} is in the file"


def test_the_image_has_the_client_of_the_server_beside_it() -> None:
    """An older pg_dump refuses the server, and what a newer one writes the server may not read."""
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    (server,) = re.findall(r"/postgres:(\d+)-(\w+)$", services["database"]["image"])
    (client,) = {found for step in values("RUN") for found in re.findall(r"postgresql-client-(\d+)", step)}
    bases = {image.split(" ")[0].rpartition("-")[2] for image in values("FROM")}
    assert ({server[0]}, {server[1]}) == ({client}, bases)
    assert bases == {"bookworm"}, "a Debian has one client: see to it that it is still this one"
