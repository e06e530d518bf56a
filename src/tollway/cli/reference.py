"""Commands that print what the code knows of itself: settings, OpenAPI, errors. The pages in docs/ are made with them."""

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from tollway.cli.terminal import AsJson, Home, print_json, print_table, settings_in_force
from tollway.web.generated import error_rows, errors_page, plain, setting_fields, settings_page, variable

AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print the page for the documentation.")]


def settings(as_json: AsJson = False, markdown: AsMarkdown = False, home: Home = None) -> None:
    """Show every setting: value in force, where it comes from, what it is for."""
    if markdown:
        print(settings_page(), end="")
        return
    in_force = settings_in_force(home=home)
    rows = [
        {
            "name": field.name,
            "environment": variable(field.name),
            "value": plain(getattr(in_force, field.name)),
            "from": _origin(field, getattr(in_force, field.name), home),
            "help": description,
        }
        for field, description, _ in setting_fields()
    ]
    if as_json:
        print_json(rows)
        return
    lines = [(row["name"], "-" if row["value"] is None else str(row["value"]), row["from"], row["help"]) for row in rows]
    print_table(("Setting", "Value", "From", "Help"), lines, wrapped=("Value", "Help"))


def openapi() -> None:
    """Print the OpenAPI document."""
    from tollway.api import openapi as generator
    from tollway.api.endpoints import ENDPOINTS

    print(generator.render(ENDPOINTS), end="")


def errors(as_json: AsJson = False, markdown: AsMarkdown = False) -> None:
    """List every error that a caller can meet."""
    if markdown:
        print(errors_page(), end="")
        return
    rows = list(error_rows())
    if as_json:
        print_json(rows)
        return
    lines = [(str(row["status"]), row["code"], row["type"], row["meaning"]) for row in rows]
    print_table(("Status", "Code", "Type", "Meaning"), lines, wrapped=("Meaning",))


def configuration() -> None:
    """Explain every field of the tables in `tollway.toml`: upstreams, models, routes and prices."""
    from tollway.web.configuration_page import configuration_page

    print(configuration_page(), end="")


def _origin(field: msgspec.structs.FieldInfo, value: Any, home: Path | None) -> str:
    if field.name == "home" and home is not None:
        return "flag"
    if variable(field.name) in os.environ:
        return "environment"
    default = field.default
    if default is msgspec.NODEFAULT and callable(field.default_factory):
        default = field.default_factory()
    return "default" if value == default else "tollway.toml"
