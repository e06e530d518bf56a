"""All settings in one table: name, type and bounds, default, help.

A value comes from, last wins: the default, `tollway.toml` (in TOLLWAY_HOME), the environment (TOLLWAY_PORT), a command-line
flag (--port). `docs/settings.md` is generated from this table.
"""

import base64
import difflib
import importlib.util
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import platformdirs
from msgspec import Meta

from tollway.money import CREDITS_MAX
from tollway.plain_words import plain_words
from tollway.toml_lines import TomlLines

# Read by clients, `tollway chat` among them; not settings of the service.
CLIENT_VARIABLES = frozenset({"TOLLWAY_API_KEY"})
# What else `tollway.toml` holds; read by catalog/configuration.py.
CONFIGURATION_TABLES = ("upstreams", "models")

# Settings that hold a secret: their values are never repeated.
SECRETS = frozenset({"database_url", "low_balance_webhook_secret"})

_HOST = re.compile(r"\s*(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)+\s*")

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=1_000_000)]  # what the system's own clocks and sockets take, with room
WebUrl = Annotated[str, Meta(pattern=r"^https?://[^\s/?#@]+(/\S*)?$")]


class SettingsError(Exception):
    """A setting that cannot be used; the message names it, where it came from, and what it may be."""


def default_home() -> Path:
    return platformdirs.user_data_path("tollway", appauthor=False)


class Hidden:
    """A value that holds a secret: its str and repr never show it, `reveal` does."""

    __slots__ = ("_shown", "_text")

    def __init__(self, text: str, shown: str) -> None:
        self._text = text
        self._shown = shown

    def reveal(self) -> str:
        """All of it. Not for logs, messages or the environment of other programs."""
        return self._text

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class DatabaseUrl(Hidden):
    """The address of a PostgreSQL database, as libpq reads it: `postgresql://user:password@host:port/database?sslmode=require`.

    Shown without its password. Raises ValueError, without repeating what was given.
    """

    __slots__ = ()

    def __init__(self, text: str) -> None:
        super().__init__(text, _without_password(text))


class WebhookSecret(Hidden):
    """The key that webhooks are signed with: `whsec_` and 24 to 64 bytes in base64, as of Standard Webhooks.

    Raises ValueError, without repeating what was given.
    """

    __slots__ = ()

    def __init__(self, text: str) -> None:
        super().__init__(text, "whsec_***")
        try:
            good = text.startswith("whsec_") and 24 <= len(self.key) <= 64
        except ValueError:
            good = False
        if not good:
            raise ValueError('must be whsec_ and 24 to 64 random bytes in base64: echo "whsec_$(openssl rand -base64 32)"')

    @property
    def key(self) -> bytes:
        return base64.b64decode(self._text.removeprefix("whsec_"), validate=True)


def _without_password(text: str) -> str:
    """Raises ValueError for what is no address, and for one in which a password may have landed in another part."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql:// (leave it out for the SQLite file in the home folder)")
    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(text).items()}
    except (ProgrammingError, UnicodeError):
        parts = {}  # what it says may quote the password
    host, port, name = parts.get("host", ""), parts.get("port", ""), parts.get("dbname", "")
    if not name or "@" in host + port + name or "/" in name or (not port.replace(",", "").isdigit() and port):
        raise ValueError(
            "must read postgresql://user:password@host:port/database; "
            "in user and password every character but A-Z, a-z, 0-9, -, _, . and ~ is percent-encoded"
        )
    place = f"[{host}]" if ":" in host else host
    user = f"{parts.get('user', '')}{':***' if 'password' in parts else ''}"
    return f"postgresql://{f'{user}@' if user else ''}{place}{f':{port}' if port else ''}/{name}"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The table. Every limit has its unit last in its name."""

    home: Annotated[Path, Meta(description="Folder for the database, models and secrets.")] = msgspec.field(
        default_factory=default_home
    )
    database_url: Annotated[
        DatabaseUrl | None,
        Meta(
            description="PostgreSQL database to use instead of the SQLite file `tollway.db` in the home folder. It may hold a "
            "password, so prefer the environment to the flag, which other users of the machine can see."
        ),
    ] = None
    host: Annotated[Annotated[str, Meta(min_length=1)], Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port to listen on.")] = 8080
    workers: Annotated[Count, Meta(description="API worker processes.")] = 1
    models_dir: Annotated[Path | None, Meta(description="Folder of the model files; default: `models` in the home folder.")] = (
        None
    )
    local_models: Annotated[
        str, Meta(description="Which pulled models to serve: names separated by commas, `all`, or `none`.")
    ] = "all"
    default_model: Annotated[str, Meta(description="The local model that is pulled at the first start and that stands in.")] = (
        "smollm2-135m-instruct"
    )
    stand_in: Annotated[
        bool,
        Meta(description="Let the default model answer for catalogue models that have no upstream; it says so everywhere."),
    ] = True
    reference_upstream_model: Annotated[
        str, Meta(description="What the upstream calls the catalogue model `google/gemini-2.5-flash-lite-preview`.")
    ] = "gemini-2.5-flash-lite"
    strict_parameters: Annotated[
        bool, Meta(description="Answer 400 to unknown top-level parameters instead of listing them in a header.")
    ] = False
    markup: Annotated[
        Annotated[str, Meta(pattern=r"^\d{1,4}(\.\d{1,6})?$")], Meta(description="Factor on every price, a decimal.")
    ] = "1.0"
    billing: Annotated[
        bool,
        Meta(description="Hold and charge credits. Without it nothing is written: no limits, request log or Idempotency-Key."),
    ] = True
    first_grant_credits: Annotated[
        Annotated[int, Meta(ge=0, le=CREDITS_MAX)],
        Meta(description="Credits that the first account starts with; 2,000,000 are one US dollar. Later accounts have none."),
    ] = 10_000_000
    engine_slots: Annotated[
        Annotated[int, Meta(ge=1, le=64)], Meta(description="Answers that one local model generates at a time.")
    ] = 8
    engine_context_tokens: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(description="Context of a local model in tokens, shared by its slots; 0 = what the model was trained for."),
    ] = 0
    engine_queue_max: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(description="Answers that may wait for a slot of a local model; more is a 429."),
    ] = 64
    engine_threads: Annotated[
        Annotated[int, Meta(ge=0)], Meta(description="Threads of a local model's engine; 0 = one per core.")
    ] = 0
    image_fetch: Annotated[
        str,
        Meta(
            description="Which image URLs are downloaded for models that see: `https` = all of the public web, `off` = none, "
            "or host names separated by commas, `*.example.com` for all below one."
        ),
    ] = "https"
    public_url: Annotated[
        Annotated[str, Meta(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+)?$")],
        Meta(
            description="The address that people use, such as `https://ai.example.org`, with nothing after it; "
            "empty = as each request says."
        ),
    ] = ""
    signup: Annotated[
        Literal["open", "invitation", "closed"],
        Meta(description="Who may sign up: nobody, who has an invitation, or everybody. The first owner has a link."),
    ] = "closed"
    body_bytes_max: Annotated[Count, Meta(description="Largest request body.")] = 20_000_000
    receive_seconds: Annotated[
        Seconds,
        Meta(
            description="How long a request's headers may take to come, and how long its body (and a second more for every "
            "10 kB); a connection may be idle five times as long."
        ),
    ] = 30.0
    heartbeat_seconds: Annotated[Seconds, Meta(description="A stream that is silent this long gets a comment line.")] = 15.0
    unread_seconds_max: Annotated[
        Seconds, Meta(description="A caller who takes nothing of an answer for so long is cut off (on Linux).")
    ] = 60.0
    drain_seconds: Annotated[Seconds, Meta(description="How long running answers may finish after SIGTERM.")] = 20.0
    low_balance_webhook_url: Annotated[
        WebUrl | None, Meta(description="Where a POST goes when an account's balance falls below what it calls low.")
    ] = None
    low_balance_webhook_secret: Annotated[
        WebhookSecret | None,
        Meta(description="Signs those POSTs, as of Standard Webhooks; prefer the environment to the flag."),
    ] = None
    opentelemetry: Annotated[
        bool,
        Meta(
            description="Send traces and metrics by OTLP over HTTP, as OpenTelemetry's own OTEL_ variables say. "
            "Needs what is in `requirements/otel.txt`."
        ),
    ] = False
    opentelemetry_content: Annotated[
        bool, Meta(description="Put prompts and answers into the traces, too. Whoever reads the traces reads them.")
    ] = False
    log_format: Annotated[
        Literal["auto", "console", "json"],
        Meta(description="Log lines for people or for machines; auto = by terminal."),
    ] = "auto"

    def __post_init__(self) -> None:
        if self.image_fetch not in {"https", "off"} and not all(map(_HOST.fullmatch, self.image_fetch.split(","))):
            raise ValueError("must be `https`, `off`, or host names such as `images.example.com, *.example.org`")

    @property
    def image_hosts(self) -> frozenset[str] | None:
        """The hosts that images are downloaded from; None = all."""
        if self.image_fetch == "https":
            return None
        return frozenset() if self.image_fetch == "off" else frozenset(name.strip() for name in self.image_fetch.split(","))

    @property
    def models_path(self) -> Path:
        return self.models_dir or self.home / "models"

    @property
    def local_names(self) -> Sequence[str]:
        """What `local_models` names, where it is neither `all` nor `none`."""
        return list(dict.fromkeys(name.strip() for name in self.local_models.split(",") if name.strip()))

    @property
    def database(self) -> Path | DatabaseUrl:
        """Where everything is kept: a SQLite file, or a PostgreSQL database."""
        return self.database_url or self.home / "tollway.db"

    @property
    def local_host(self) -> str:
        """Where this machine itself reaches the service: a socket bound to all addresses is asked on the loopback."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound

    @property
    def local_address(self) -> str:
        """Where programs on this machine reach the service."""
        host = f"[{self.local_host}]" if ":" in self.local_host else self.local_host
        return f"http://{host}:{self.port}"

    @property
    def address(self) -> str:
        """What links begin with that are printed: the address that people use, else that of this machine."""
        return self.public_url or self.local_address


def configuration_path(home: Path) -> Path:
    return home / "tollway.toml"


def load(flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> Settings:
    """The settings in force.

    `flags` are command-line values, None = not given. Raises SettingsError for an unknown name in `tollway.toml` and for any
    value that does not fit; unknown TOLLWAY_ variables are errors too, so that a typo never passes for a setting.
    """
    environ = dict(os.environ) if environ is None else environ
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    origins: dict[str, str] = dict.fromkeys(given, "flag")
    names = set(Settings.__struct_fields__)

    for variable, text in environ.items():
        if not variable.startswith("TOLLWAY_") or variable in CLIENT_VARIABLES:
            continue
        name = variable.removeprefix("TOLLWAY_").lower()
        if name not in names:
            variables = {f"TOLLWAY_{each.upper()}" for each in names}
            raise SettingsError(f"{variable} is no setting. {_known(variable, variables)}")
        if name not in given:
            given[name], origins[name] = text, f"environment variable {variable}"

    file = configuration_path(_placed("home", given.get("home", default_home())))
    text, document = read_toml(file)
    lines = TomlLines(text)
    for name, value in document.items():
        if name in CONFIGURATION_TABLES:
            continue
        line = lines.find((name,))
        place = f"{file}:{line}" if line else str(file)
        if name not in names:
            raise SettingsError(f"{place}: `{name}` is no setting. {_known(name, {*names, *CONFIGURATION_TABLES})}")
        if name not in given:
            given[name], origins[name] = value, place

    for name in ("home", "models_dir"):
        if given.get(name):
            given[name] = str(_placed(name, given[name]))
    kinds = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    for name, value in given.items():  # one at a time, so that the message can name the culprit and its origin
        try:
            _converted({name: value})
        except msgspec.ValidationError as error:
            shown = "..." if name in SECRETS else repr(value)
            said = plain_words(error, kinds[name])
            if isinstance(value, int | float) and said.startswith("must be text, not"):  # of secrets it says no kind
                said += f': write "{value}", with quotation marks'
            raise SettingsError(f"{name} = {shown} (from {origins.get(name)}): {said}.") from None
    settings = _converted(given)
    if settings.low_balance_webhook_url is not None and settings.low_balance_webhook_secret is None:
        raise SettingsError(
            "low_balance_webhook_url needs low_balance_webhook_secret, so that its receiver can trust what comes."
        )
    if settings.opentelemetry and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
        raise SettingsError(
            "opentelemetry = true needs packages that are not installed: `make .venv/otel.done` in a clone, "
            "or `pip install --require-hashes -r requirements/otel.txt`."
        )
    return settings


def _placed(name: str, value: object) -> Path:
    """The folder that is meant: `~` is the user's own. Raises SettingsError for the home of a user who has none."""
    try:
        return Path(str(value)).expanduser().absolute()
    except RuntimeError as error:
        raise SettingsError(f"{name} = {value!r}: {error}") from None


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # what it is in
        return False


def _known(name: str, names: set[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean `{close[0]}`?" if close else "`tollway serve --help` lists them."


def _converted(values: dict[str, Any]) -> Settings:
    return msgspec.convert(values, Settings, strict=False, dec_hook=_of_text)


def _of_text(kind: Any, value: object) -> Any:
    """What msgspec does not know: paths, addresses and secrets."""
    if not isinstance(value, str):
        raise ValueError("must be text, in quotation marks")
    if kind is Path and not value:
        raise ValueError("must not be empty")  # it would be whatever folder one is in
    return kind(value)


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """(text, document) of a TOML file; of one that is not there, nothing. Raises SettingsError for one that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
        repr(document)  # what cannot be written down, such as 0xfff... of 5,000 digits, could not be complained of either
        return text, document
    except (FileNotFoundError, NotADirectoryError):
        return "", {}
    except RecursionError:
        raise SettingsError(f"{path}: it is nested too deeply") from None
    except PermissionError as error:
        raise SettingsError(
            f"{path}: {error.strerror}. Run it as the user that Tollway runs as, or choose another home"
        ) from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except ValueError as error:  # no TOML, no UTF-8, or a number beyond what Python reads
        raise SettingsError(f"{path}: {error}") from None
