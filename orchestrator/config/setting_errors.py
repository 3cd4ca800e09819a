"""What pydantic says of a wrong value, in our words: the value, and the bound or form it must have."""

from __future__ import annotations

import json

from pydantic_core import ErrorDetails

FORMS = {
    "Input should be greater than or equal to": "it must be at least",
    "Input should be greater than": "it must be above",
    "Input should be less than or equal to": "it must be at most",
    "Input should be less than": "it must be below",
    "Input should": "it must",
    "String should": "it must",
    "List should": "it must",
}
"""How pydantic's messages begin, and how ours do; the first that fits counts."""


HALF_AN_HOUR = {"hours": "0.5", "seconds": "1800"}
"""An example for each unit of time in which a setting is given. The name of such a setting ends with the unit."""


def problem_of(setting: str, error: ErrorDetails) -> str:
    """One line: the setting, its value, and what the value must be.

    Args:
        setting: the name that the user wrote.
        error: of a value; not of an unknown key, nor raised by a validator of ours.
    """
    if error["type"] == "string_pattern_mismatch":
        requirement = "it may hold letters, digits, '.', '_' and '-', and must not begin with '.' or '-'"
    elif error["type"] == "float_type" and (unit := setting.split(".")[-1].split("_")[-1]) in HALF_AN_HOUR:
        requirement = f"it must be a number of {unit}, such as {HALF_AN_HOUR[unit]} for 30 minutes"
    elif isinstance(error["input"], str) and error["type"] in ("list_type", "sequence_str"):
        requirement = f"it must be a list, such as {json.dumps([error['input']])}"
    else:
        requirement = error["msg"]
        for theirs, ours in FORMS.items():
            if requirement.startswith(theirs):
                requirement = ours + requirement.removeprefix(theirs)
                break
    return f"{setting} is {error['input']!r}; {requirement}"
