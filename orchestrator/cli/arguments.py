"""Arguments of several commands, options that are described by settings, and how JSON is printed."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand

_json_text: ContextVar[str | None] = ContextVar("json_text", default=None)
"""The JSON of the command that runs."""

# Not `Path`, which would turn s3:// into s3:/.
RunDir = Annotated[
    str, typer.Argument(metavar="RUN_DIR", help="The run directory of a search: a folder, or a URI such as s3://...")
]
NetworkName = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="A run directory (its winner, retrained if it is), RUN_DIR/best, or RUN_DIR/retrain/NAME.",
    ),
]


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr whatever is written to stdout, by threads of Ray and by libraries of any language too."""
    stdout = sys.stdout
    stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = stdout
        os.dup2(kept, 1)
        os.close(kept)


def _keep_stdout(context: typer.Context, as_json: bool) -> bool:
    """Keep stdout for the JSON, which is written when the command has ended."""
    if as_json:
        context.with_resource(_json_alone())
    return as_json


@contextlib.contextmanager
def _json_alone() -> Iterator[None]:
    before = _json_text.set(None)
    try:
        with stdout_to_stderr():
            yield
    finally:
        if (text := _json_text.get()) is not None:
            typer.echo(text)
        _json_text.reset(before)


AsJson = Annotated[bool, typer.Option("--json", callback=_keep_stdout, help="Print JSON for programs.")]
ArchitectureName = Annotated[
    str,
    typer.Argument(
        metavar="ARCHITECTURE",
        help="A published cell (cellscout list cells), an architecture.json or network.json, a run directory, or "
        "RUN_DIR#TRIAL, a trial of its leaderboard.",
    ),
]
Top = Annotated[int, typer.Option("--top", min=1, help="Number of trials to show, best first.")]
SetValues = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; may be repeated.")
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", help="A running Ray cluster: 'auto' or HOST:PORT. Without it, Ray is started on this machine."
    ),
]


def command_of(settings: str) -> type[TyperCommand]:
    """Make a class of commands whose options are described by settings.

    An option without a help text of its own shows that of the settings' field with the name of its parameter. The
    settings are imported when the command's help is shown, so that other commands do not wait for pydantic.

    Args:
        settings: the class, as `module:NAME`.
    """

    class DescribedCommand(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            _describe(self, settings)
            super().format_help(ctx, formatter)

    return DescribedCommand


def _describe(command: TyperCommand, settings: str) -> None:
    from orchestrator.config import option_help

    module, _, name = settings.partition(":")
    fields = getattr(importlib.import_module(module), name).model_fields
    for parameter in command.params:
        if getattr(parameter, "help", None) is None and parameter.name in fields:
            # Text in backticks is for the reference; text in brackets would be read as a colour.
            text = escape(option_help(fields[parameter.name]).replace("`", ""))
            parameter.help = text  # type: ignore[attr-defined]


def split_words(text: str) -> list[str]:
    """The words of a list with commas between them; empty words are left out."""
    return [word.strip() for word in text.split(",") if word.strip()]


def print_json(value: Any) -> None:
    """Print the value as JSON when the command has ended, and nothing else on stdout."""
    _json_text.set(json.dumps(value, indent=2))
