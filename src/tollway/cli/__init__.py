"""The command line. `tollway --help` is the first page of the manual."""

import errno
import io
import logging
import os
import sys
from typing import Annotated, NoReturn

import structlog
import typer

from tollway import __version__
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
from tollway.cli.terminal import err, words

app = typer.Typer(
    name="tollway",
    help="Your own AI/ML API: one command serves a real model behind OpenAI-compatible chat completions.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"tollway {__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


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


def keep_log_quiet() -> None:
    """What went wrong a command says itself, in one line; `serve`, and what tries routes, have a log of their own."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def main() -> None:
    keep_log_quiet()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal has no letters for keeps no table back
    try:
        try:
            app()
        finally:
            if sys.stdout is not None:  # as it is after `>&-`
                sys.stdout.flush()
    except OSError as error:
        _end(error)


def _end(error: OSError) -> NoReturn:
    """Says in one line that the output cannot be written, such as to a full disk; of files commands speak themselves."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try again at its end
    if error.errno != errno.EPIPE:  # who reads no further wants to hear no more
        why = f"the output cannot be written: {error.strerror}" if error.filename is None else words(error)
        err.print("[red]error[/red] ", end="")
        err.print(why, markup=False)
    sys.exit(1)
