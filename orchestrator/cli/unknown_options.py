"""What unknown words on the command line may have meant: `help`, one of a command's options, or a setting."""

from __future__ import annotations

import difflib
from typing import Any

from typer.core import TyperGroup

PLACES = ("run-dir", "evaluation-dir")
SYNONYMS = {"o": PLACES, "out": PLACES, "output": PLACES, "trials": ("top",)}
"""Options that other programs, or other commands of this one, have under these names."""


class Commands(TyperGroup):
    """The commands, with better suggestions for unknown options, and `help COMMAND` for `COMMAND --help`.

    Typer compares the dashes too, so that any two short options resemble each other.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:  # the class has another name in each version of Typer
            command, option = getattr(getattr(error, "ctx", None), "command", None), getattr(error, "option_name", "")
            if hasattr(error, "possibilities") and command is not None:
                error.possibilities = _suggestions(option.lstrip("-"), command)
            raise


def _suggestions(word: str, command: Any) -> list[str]:
    options = [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]
    names = [option.removeprefix("--") for option in options if option.startswith("--")]
    if near := difflib.get_close_matches(word, names) or [name for name in SYNONYMS.get(word, ()) if name in names]:
        return [f"--{name}" for name in near]
    sets = [parameter.metavar for parameter in command.params if "--set" in parameter.opts]
    if not sets or not sets[0].endswith(".KEY=VALUE"):
        return []
    from orchestrator.config import CHANGEABLE, settings_like  # takes a moment: it imports pydantic

    changeable = set(CHANGEABLE) if command.name == "resume" else {sets[0].removesuffix(".KEY=VALUE")}
    found = settings_like(word.replace("-", "_"))
    return [
        f"--set {setting}=VALUE" for setting in found if {"SECTION", setting, setting.partition(".")[0]} & changeable
    ]
