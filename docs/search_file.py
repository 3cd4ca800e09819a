"""Prints the reference of the search file, `docs/search-file.md`, from the typed configuration: sections, keys, bounds.

    python docs/search_file.py > docs/search-file.md

Each key is described where it is declared, in `orchestrator/config/search_config.py` and `trainables/settings.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic.fields import FieldInfo

from orchestrator.config import DEFAULT_SEARCH, SearchConfig
from trainables.settings import Settings

EXAMPLE = Path(__file__).parents[1] / "examples" / "cifar10.toml"

INTRODUCTION = f"""\
# The search file

(Made by `python docs/search_file.py` from `orchestrator/config/search_config.py` and `trainables/settings.py`.)

A search file says, in TOML, what differs from the defaults. Any value can also be set on the command line, as in
`--set training.epochs=9`; this is read as TOML, and as a plain string where it is none. Unknown keys and impossible
values are refused in one line before anything starts, and data that cannot be used as soon as they are read; neither
leaves anything behind.

`cellscout list spaces|cells|skeletons|presets|samplers|schedulers|datasets|trainables` shows every built-in name. A
part of your own is named `module:NAME`; its module is looked for in the folder in which the command runs, and among
the installed packages ([extending.md](extending.md)).

This one, `examples/cifar10.toml`, is complete:

```toml
{EXAMPLE.read_text().rstrip()}
```

And this is what `cellscout search` runs without a file:

```toml
{DEFAULT_SEARCH.read_text().rstrip()}
```

Every section and every key may be left out.
"""

TYPES = {str: "string", int: "integer", float: "number", bool: "true or false", Any: "anything"}


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([INTRODUCTION, *(section(name, field) for name, field in SearchConfig.model_fields.items())])


def section(name: str, field: FieldInfo) -> str:
    """One section: what it is for, and a row a key."""
    settings = field.annotation
    assert isinstance(settings, type)
    assert issubclass(settings, Settings)
    purpose = (inspect.getdoc(settings) or "").partition(": ")[2]
    rows = [row(key, one) for key, one in settings.model_fields.items()]
    header = ["| key | type | default | bounds | |", "|---|---|---|---|---|"]
    return "\n".join([f"## `[{name}]`\n", purpose[0].upper() + purpose[1:], "", *header, *rows, ""])


def row(key: str, field: FieldInfo) -> str:
    """One key; its meaning in one line."""
    assert field.description, f"{key} has no docstring"
    annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    kind, limits = described(annotation)
    default = field.get_default(call_default_factory=True)
    cells = [f"`{key}`", kind, literal(default), limits, " ".join(field.description.split())]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def described(annotation: Any) -> tuple[str, str]:
    """The type in words, and its bounds, empty if it has none."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind, limits = described(arguments[0])
        return kind, limits or bounds([*constraints(arguments[1:])])
    if origin in (Union, UnionType):
        parts = [described(part) for part in arguments if part is not NoneType]
        return " or ".join(kind for kind, _ in parts), ", ".join(limits for _, limits in parts if limits)
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in arguments), ""
    if origin is list:
        return f"list of {described(arguments[0])[0]}s", ""
    if origin is dict:
        inner, limits = described(arguments[1])
        return ("table" if arguments[1] is Any else f"table of {inner}s"), limits
    return TYPES[annotation], ""


def constraints(metadata: Sequence[Any]) -> Iterator[Any]:
    """What is declared of a value; a `Field(ge=0)` inside `Annotated` holds several."""
    for one in metadata:
        yield from one.metadata if isinstance(one, FieldInfo) else [one]


def bounds(declared: Sequence[Any]) -> str:
    """Bounds in words, such as `1 to 64` and `at least 0, below 1`."""
    found = {type(one): one for one in declared}
    least, above, most, below, length = (found.get(kind) for kind in (Ge, Gt, Le, Lt, MaxLen))
    if least and most:
        return f"{least.ge} to {most.le}"
    words = [
        f"at least {least.ge}" if least else "",
        f"above {above.gt}" if above else "",
        f"at most {most.le}" if most else "",
        f"below {below.lt}" if below else "",
        f"at most {length.max_length} characters" if length else "",
    ]
    return ", ".join(word for word in words if word)


def literal(value: Any) -> str:
    """A default as it would stand in the file; nothing for what is unset or empty."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None or value == {}:
        return ""
    if isinstance(value, list):
        return "`[" + ", ".join(f'"{one}"' for one in value) + "]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    print(page(), end="")
