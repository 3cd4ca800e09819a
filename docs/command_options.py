"""Prints the reference of the commands that follow a search, `docs/command-options.md`: options, types, bounds.

    python docs/command_options.py > docs/command-options.md

Each option is described at its field: `orchestrator/{evaluation,simulation}/settings.py` and
`orchestrator/networks/{retraining,export}/settings.py`.
"""

from __future__ import annotations

import inspect

from pydantic.fields import FieldInfo

import cellscout
from orchestrator.config import OptionSettings, bounds_of, default_of, description_of, option_name, type_of
from orchestrator.evaluation import EvaluationSettings
from orchestrator.networks import ExportSettings, RetrainSettings
from orchestrator.simulation import SimulateSettings

COMMANDS: tuple[type[OptionSettings], ...] = (EvaluationSettings, RetrainSettings, ExportSettings, SimulateSettings)

INTRODUCTION = """\
# Options of the commands that follow a search

(Made by `python docs/command_options.py` from the settings of each command.)

This page lists the settings of these commands; the help of a command shows its other options. In Python, a setting is
a keyword argument of the command's settings; `simulate` is on the command line only. A list is written with commas
between its values; an option that may be repeated takes one value each time, unless its row says otherwise.
Impossible values are refused with a one-line message before anything starts.
"""


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([INTRODUCTION, *(section(settings) for settings in COMMANDS)])


def section(settings: type[OptionSettings]) -> str:
    """The options of one command: a sentence, and one table row per option."""
    command, _, purpose = (inspect.getdoc(settings) or "").partition(": ")
    rows = [row(key, field) for key, field in settings.model_fields.items()]
    python = f" From Python: `{settings.__name__}`." if hasattr(cellscout, settings.__name__) else ""
    introduction = f"{purpose[0].upper()}{purpose[1:]}{python}"
    header = ["| option | keyword | type | default | bounds | |", "|---|---|---|---|---|---|"]
    return "\n".join([f"## {command}\n", introduction, "", *header, *rows, ""])


def row(key: str, field: FieldInfo) -> str:
    """The table row of one option."""
    default = default_of(field)
    cells = [
        f"`{option_name(key, field)}`",
        f"`{key}`",
        type_of(field),
        default and f"`{default}`",
        bounds_of(field),
        description_of(field),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(page(), end="")
