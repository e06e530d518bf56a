"""`tollway.toml`'s upstreams and models, checked and with their keys; what else may answer comes from the shipped rows."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, structs

from tollway.catalog.shipped import shipped
from tollway.catalog.table_reader import NO_KEYS_HERE, TableReader, closest
from tollway.catalog.tables import ModelTable, UpstreamTable
from tollway.catalog.upstreams import LOCAL, Limits, ProviderRow, Quirks, Upstream, shipped_providers
from tollway.settings import CONFIGURATION_TABLES, Settings, SettingsError, configuration_path, read_toml
from tollway.toml_lines import Path as TomlPath

LOCAL_PREFIX = "local/"

_UPSTREAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
_KEY = re.compile(r"[!-~]{1,8192}")
_KEY_FILE_BYTES_MAX = 16_384


class ConfigurationError(SettingsError):
    """`tollway.toml` cannot be used. The message has a line for each problem: file, line, field and fix."""


class Configuration(Struct, frozen=True):
    """Who may answer and what is public. Holds the upstreams' keys: not for logs."""

    upstreams: dict[str, Upstream]
    """Those that can be asked, by name."""
    missing: dict[str, str]
    """Those that cannot, and why."""
    models: tuple[ModelTable, ...]
    """The shipped models, as the file changes them, then the file's own."""
    explicit_upstreams: tuple[str, ...] = ()
    explicit_models: tuple[str, ...] = ()
    """What stands in the file itself. Nothing ever stands in for it."""


def load_configuration(settings: Settings, environ: Mapping[str, str] | None = None) -> Configuration:
    """The configuration in force. Reads `tollway.toml`, key files and `environ`. Raises ConfigurationError."""
    environ = os.environ if environ is None else environ
    file = configuration_path(settings.home)
    try:
        text, document = read_toml(file)
    except SettingsError as error:
        raise ConfigurationError(str(error)) from None
    reader = TableReader(file, text)
    tables = {name: document.get(name, {} if name == "upstreams" else []) for name in CONFIGURATION_TABLES}
    upstreams = _Upstreams(reader, settings.home, environ)
    upstreams.read(tables["upstreams"])
    models = _read_models(reader, tables["models"], _shipped_models(settings), upstreams.known)
    if reader.problems:
        raise ConfigurationError("\n".join(reader.problems))
    return Configuration(
        upstreams=upstreams.usable,
        missing=upstreams.missing,
        models=tuple(models.values()),
        explicit_upstreams=tuple(tables["upstreams"]),
        explicit_models=tuple(table["id"] for table in tables["models"] if table.get("routes")),
    )


def shipped_configuration() -> Configuration:
    """What there is without a file and without keys."""
    upstreams = _Upstreams(TableReader(Path(), ""), Path(), {})
    upstreams.read({})
    models = _shipped_models(Settings())
    return Configuration(upstreams.usable, upstreams.missing, tuple(models.values()))


# --- upstreams --------------------------------------------------------------------------------------------------------


class _Upstreams:
    """Turns tables and shipped rows into upstreams."""

    def __init__(self, reader: TableReader, home: Path, environ: Mapping[str, str]) -> None:
        self.usable: dict[str, Upstream] = {}
        self.missing: dict[str, str] = {}
        self.known: set[str] = {LOCAL.name}
        self._reader = reader
        self._home = home
        self._environ = environ
        self._rows = shipped_providers()

    def read(self, tables: Any) -> None:
        if not isinstance(tables, dict):
            self._reader.problem(("upstreams",), "must be tables with names: `[upstreams.NAME]`.")
            return
        self.known |= {*tables, *self._rows}
        for name, table in tables.items():
            self._read_one(name, table)
        for name, row in self._rows.items():
            if name not in tables:
                self._add(("upstreams", name), row, Limits(), None)

    def _read_one(self, name: str, value: Any) -> None:
        path: TomlPath = ("upstreams", name)
        if name == LOCAL.name or not _UPSTREAM_NAME.fullmatch(name):
            reason = "is what the models of this machine are called" if name == LOCAL.name else "cannot be a name"
            self._reader.problem(path, f"`{name}` {reason}. Use letters, digits, `-` and `_`.")
            return
        table = self._reader.read(path, value, UpstreamTable)
        if table is None:
            return
        row = self._row(path, name, table)
        if row is None:
            return
        if row.dialect != "openai" and value.get("quirks"):
            self._reader.problem((*path, "quirks"), f"the dialect `{row.dialect}` has none. Leave them out.")
        quirks = {**structs.asdict(row.quirks), **value.get("quirks", {})}
        row = structs.replace(row, name=name, quirks=msgspec.convert(quirks, Quirks))
        limits = Limits(
            first_token_seconds=table.first_token_seconds or None,
            between_tokens_seconds=table.between_tokens_seconds or None,
            total_seconds=table.total_seconds or None,
            concurrency_max=table.concurrency_max,
            attempts_max=table.attempts_max,
            breaker_failures=table.breaker_failures,
        )
        self._add(path, row, limits, table.key_file)

    def _row(self, path: TomlPath, name: str, table: UpstreamTable) -> ProviderRow | None:
        """The shipped row with the table's own fields in it, or a row made of those alone."""
        provider = table.provider or (name if name in self._rows and table.dialect is None else None)
        if provider is not None and provider not in self._rows:
            known = ", ".join(sorted(self._rows))
            hint = closest(provider, self._rows) or f"There are {known}; for any other give `dialect` and `base_url`."
            self._reader.problem((*path, "provider"), f"`{provider}` is no shipped provider. {hint}")
            return None
        changes: dict[str, Any] = {}
        if table.base_url is not None:
            changes["base_url"] = self._address((*path, "base_url"), table.base_url)
        if table.dialect is not None:
            changes["dialect"] = table.dialect
        if table.key_variable is not None:
            if not _VARIABLE_NAME.fullmatch(table.key_variable):
                hint = 'a name is in capitals, such as "ACME_API_KEY". If this is the key itself: '
                self._reader.problem((*path, "key_variable"), f"this is no environment variable's name; {hint}{NO_KEYS_HERE}")
            if table.key_file is not None:
                self._reader.problem((*path, "key_file"), "there is a `key_variable` too. Keep one of them.")
            changes["key_variable"] = table.key_variable
        if table.key_file is not None or table.key_variable is not None:
            changes["key_required"] = True
        if provider is not None:
            return structs.replace(self._rows[provider], **changes)
        absent = [field for field in ("dialect", "base_url") if field not in changes]
        for field in absent:
            self._reader.problem(path, f'`{field}` is missing. Or name a shipped `provider`, such as "vllm" or "openai".')
        return None if absent else ProviderRow(**{"name": name, "key_required": False, **changes})

    def _address(self, path: TomlPath, text: str) -> str:
        try:
            parts = urlsplit(text)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
            (parts.hostname or "").encode("idna")  # no name can be looked up that has an empty part, or too long a one
        except ValueError:
            good = False
        if not good or not text.isascii() or not text.isprintable() or " " in text:
            self._reader.problem(path, 'must be a URL such as "https://api.example.com/v1".')
        elif parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            self._reader.problem(path, f"must be an address alone, without user, `?` or `#`; {NO_KEYS_HERE}")
        elif beyond := re.search("/(chat/completions|models)/*$", parts.path):
            self._reader.problem(path, f"must end before `/{beyond[1]}`.")
        return text.rstrip("/")

    def _add(self, path: TomlPath, row: ProviderRow, limits: Limits, key_file: str | None) -> None:
        key, reason = self._key_in_file(path, key_file) if key_file else self._key_in_environment(row.key_variables)
        if key is None and (row.key_required or key_file):
            self.missing[row.name] = reason
            return
        self.usable[row.name] = Upstream(row.name, row.dialect, row.base_url, key, row.quirks, limits, row.vendor or row.name)

    def _key_in_environment(self, variables: tuple[str, ...]) -> tuple[str | None, str]:
        for variable in variables:
            if key := self._environ.get(variable, "").strip():
                return (key, "") if _KEY.fullmatch(key) else (None, f"the value of {variable} cannot be a key")
        return None, f"{' or '.join(variables)} is not set" if variables else "no key is configured"

    def _key_in_file(self, path: TomlPath, key_file: str) -> tuple[str | None, str]:
        file = self._home / Path(key_file).expanduser()
        try:
            with file.open("rb") as opened:
                key = opened.read(_KEY_FILE_BYTES_MAX).decode("ascii", "replace").strip()
        except OSError as error:
            self._reader.problem((*path, "key_file"), f"{file} cannot be read: {error.strerror}.")
            return None, ""
        if not _KEY.fullmatch(key):
            self._reader.problem((*path, "key_file"), f"{file} must hold one key and nothing else.")
            return None, ""
        return key, ""


# --- models -----------------------------------------------------------------------------------------------------------


def _shipped_models(settings: Settings) -> dict[str, ModelTable]:
    models = {row["id"]: msgspec.convert(row, ModelTable) for row in shipped("models.toml")["models"]}
    for name, model in models.items():
        routes = [
            structs.replace(route, model=getattr(settings, route.model[1:])) if route.model.startswith("$") else route
            for route in model.routes
        ]
        models[name] = structs.replace(model, routes=tuple(routes))
    return models


def _read_models(
    reader: TableReader, tables: Any, shipped: dict[str, ModelTable], upstreams: Iterable[str]
) -> dict[str, ModelTable]:
    """The shipped models with the file's changes, then the file's own, by id."""
    if not isinstance(tables, list):
        reader.problem(("models",), "must be a list of tables: `[[models]]`.")
        return {}
    models = dict(shipped)
    names: dict[str, int] = {}
    for position, value in enumerate(tables):
        path: TomlPath = ("models", position)
        table = reader.read(path, value, ModelTable)
        if table is None:
            continue
        for name in (table.id, *table.aliases):
            if name.startswith(LOCAL_PREFIX):
                reader.problem(path, f"`{name}`: names with `{LOCAL_PREFIX}` belong to the model files of this machine.")
            elif names.setdefault(name, position) != position or (name in shipped and name != table.id):
                reader.problem(path, f"`{name}` is the name of another model too.")
        for at, route in enumerate(table.routes):
            if route.upstream not in upstreams:
                hint = closest(route.upstream, upstreams) or f"Add a table `[upstreams.{route.upstream}]`."
                reader.problem((*path, "routes", at, "upstream"), f"there is no upstream `{route.upstream}`. {hint}")
        changes = {name: getattr(table, name) for name in value}
        models[table.id] = structs.replace(shipped[table.id], **changes) if table.id in shipped else table
        _check_complete(reader, path, models[table.id])
    return models


def _check_complete(reader: TableReader, path: TomlPath, model: ModelTable) -> None:
    """What callers pay and how much fits must be said for whatever is not of this machine."""
    if not model.routes:
        reader.problem(path, '`routes` is missing: who answers? `routes = [{ upstream = "openai", model = "gpt-5-mini" }]`.')
    away = [route for route in model.routes if route.upstream != LOCAL.name]
    if model.price is None and any(route.price is None for route in away):
        example = '`price = { prompt = "0.10", completion = "0.40" }`'
        reader.problem(path, f"`price` is missing, in US dollars per million tokens: {example}.")
    if model.context_length is None and any(route.context_length is None for route in away):
        reader.problem(path, "`context_length` is missing, in tokens: `context_length = 131072`.")
