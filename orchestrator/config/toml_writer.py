"""Writes a configuration as a search file, which `cellscout search` reads back as the same configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def search_file(config: Mapping[str, Any]) -> str:
    """The TOML of a configuration. Unset values and empty sections are left out, because TOML has no null."""
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
        return repr(value)  # TOML writes inf and nan like Python
    return json.dumps(value)


def _text(value: str) -> str:
    """A TOML basic string. TOML escapes like JSON, except that it also forbids a plain DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
