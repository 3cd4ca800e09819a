"""Settings of the commands that follow a search, one field for each option.

A field's docstring and bounds are used by the command's help, by the reference in docs/ and by errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from orchestrator.config.field_words import bounds_of, description_of
from orchestrator.config.setting_errors import problem_of
from orchestrator.errors import ConfigError, check_class
from trainables.settings import Settings, did_you_mean


@dataclass(frozen=True)
class Option:
    """What an option's field cannot say itself; used in `Annotated`."""

    name: str | None = None
    """The option, if it is not called like the field: `--set`."""
    why: str | None = None
    """The reason for the bounds; errors end with it."""


class OptionSettings(Settings):
    """Base class of a command's settings: immutable; wrong values are refused by the names of their options.

    Raises:
        ConfigError: a value is outside its bounds, or two values do not fit together.
    """

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_explain(type(self), error.errors()[0])) from error

    @classmethod
    def of(cls, given: Self | None) -> Self:
        """Return what a caller gave as settings, or for None the defaults.

        Raises:
            ConfigError: it is something else.
        """
        check_class("settings", given, cls)
        return given or cls()


def option_name(name: str, field: FieldInfo) -> str:
    """The option that sets a field, such as `--early-stopping`."""
    return _option(field).name or f"--{name.replace('_', '-')}"


def option_help(field: FieldInfo) -> str:
    """An option's description and bounds."""
    description, bounds = description_of(field), bounds_of(field)
    return f"{description} {bounds[0].upper()}{bounds[1:]}." if bounds else description


def _option(field: FieldInfo) -> Option:
    return next((one for one in field.metadata if isinstance(one, Option)), Option())


def _explain(settings: type[OptionSettings], error: ErrorDetails) -> str:
    if error["type"] == "value_error":  # a validator of ours has named the option
        return str(error["ctx"]["error"])
    fields: Mapping[str, FieldInfo] = settings.model_fields
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"{settings.__name__} has no setting {name!r}{did_you_mean(name, fields)}"
    option = option_name(name, fields[name])
    if error["type"] == "too_short":
        return f"{option} names nothing"
    why = _option(fields[name]).why
    return problem_of(option, error) + (f": {why}" if why else "")
