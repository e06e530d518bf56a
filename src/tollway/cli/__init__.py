"""The command line. `tollway --help` is the first page of the manual."""

import logging
import sys

import structlog
import typer

from tollway.cli import (
    accounts,
    booking,
    chat,
    db,
    doctor,
    keys,
    models,
    people,
    public_models,
    reference,
    serve,
    usage,
    verify,
)

app = typer.Typer(
    name="tollway",
    help="Your own AI/ML API: one command serves a real model behind OpenAI-compatible chat completions.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

app.command(name="serve")(serve.serve)
app.add_typer(accounts.app, name="accounts")
app.add_typer(keys.app, name="keys")
app.add_typer(people.app, name="people")
app.add_typer(booking.app, name="credits")
app.command(name="usage")(usage.usage)
app.command(name="logs")(usage.logs)
app.command(name="verify-ledger")(verify.verify_ledger)
models.app.command(name="list")(public_models.list_models)
models.app.command(name="test")(public_models.try_model)
app.add_typer(models.app, name="models")
app.add_typer(db.app, name="db")
app.command(name="chat")(chat.chat)
app.command(name="doctor")(doctor.doctor)
app.command(name="settings")(reference.settings)
app.command(name="configuration")(reference.configuration)
app.command(name="openapi")(reference.openapi)
app.command(name="errors", hidden=True)(reference.errors)


def main() -> None:
    # What went wrong a command says itself, in one line; `serve`, and what tries routes, have a log of their own.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    app()
