"""The command line. `tollway --help` is the first page of the manual."""

import typer

app = typer.Typer(
    name="tollway",
    help="Your own AI/ML API: one command serves a real model behind OpenAI-compatible chat completions.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def main() -> None:
    app()
