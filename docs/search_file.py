"""Prints the reference of the search file, `docs/search-file.md`: sections, keys, defaults and bounds.

    python docs/search_file.py > docs/search-file.md

Each key is described at its field, in `orchestrator/config/search_config.py` and `trainables/settings.py`.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from pydantic.fields import FieldInfo

from orchestrator.config import DEFAULT_SEARCH, SearchConfig, bounds_of, default_of, description_of, type_of
from trainables.settings import Settings

EXAMPLE = Path(__file__).parents[1] / "examples" / "cifar10.toml"

INTRODUCTION = f"""\
# The search file

(Made by `python docs/search_file.py` from `orchestrator/config/search_config.py` and `trainables/settings.py`.)

A search file is a TOML file with the settings that differ from the defaults. Any value can also be set on the command
line, as in `--set training.epochs=9`; the value is read as TOML, or as a plain string if it is not TOML. Unknown keys
and impossible values are refused with a one-line message before anything starts. Unusable data are refused when they
are read. In both cases, no files are left behind.

`cellscout list spaces|cells|operations|skeletons|presets|samplers|schedulers|datasets|trainables` shows every built-in
name. Your own parts are named `module:NAME`; cellscout looks for the module among the installed packages and
then in the current folder ([extending.md](extending.md)).

`examples/cifar10.toml` is a complete search file:

```toml
{EXAMPLE.read_text().rstrip()}
```

Without a file, `cellscout search` runs this one:

```toml
{DEFAULT_SEARCH.read_text().rstrip()}
```

Every section and every key can be left out.
"""


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([INTRODUCTION, *(section(name, field) for name, field in SearchConfig.model_fields.items())])


def section(name: str, field: FieldInfo) -> str:
    """One section: its purpose, and one table row per key."""
    settings = field.annotation
    assert isinstance(settings, type)
    assert issubclass(settings, Settings)
    purpose = (inspect.getdoc(settings) or "").partition(": ")[2]
    rows = [row(key, one) for key, one in settings.model_fields.items()]
    header = ["| key | type | default | bounds | |", "|---|---|---|---|---|"]
    return "\n".join([f"## `[{name}]`\n", purpose[0].upper() + purpose[1:], "", *header, *rows, ""])


def row(key: str, field: FieldInfo) -> str:
    """The table row of one key."""
    default = default_of(field)
    cells = [f"`{key}`", type_of(field), default and f"`{default}`", bounds_of(field), description_of(field)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(page(), end="")
