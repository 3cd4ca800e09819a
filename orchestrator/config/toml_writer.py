"""A recorded configuration as a search file: TOML that `cellscout search` reads back as the same configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def search_file(config: Mapping[str, Any]) -> str:
    """The sections that hold anything; what is unset is left out, for TOML knows no null."""
    sections = []
    for section, values in config.items():
        lines = [f"{_key(name)} = {_value(value)}" for name, value in values.items() if value is not None]
        if lines:
            sections.append("\n".join([f"[{_key(section)}]", *lines]))
    return "\n\n".join(sections) + "\n"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        items = [f"{_key(name)} = {_value(one)}" for name, one in value.items() if one is not None]
        return f"{{ {', '.join(items)} }}" if items else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return repr(value)  # also inf and nan, as TOML writes them
    return json.dumps(value)


def _text(value: str) -> str:
    """A basic string; what JSON escapes is escaped the same way there, but for DEL, which TOML forbids."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
