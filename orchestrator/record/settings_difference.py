"""Where the settings of a run on record differ from those that it is to go on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def first_difference(recorded: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> str | None:
    """Name the first setting that differs, with both values; None if all are the same.

    Settings within settings are named with dots. A missing one counts as None.
    """
    for name in {**recorded, **wanted}:
        before, after = recorded.get(name), wanted.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found = first_difference(before, after, f"{prefix}{name}.")
            if found is not None:
                return found
        elif before != after:
            return f"{prefix}{name} was {before!r}, and is {after!r}"
    return None
