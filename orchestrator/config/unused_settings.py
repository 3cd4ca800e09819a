"""Settings that mean nothing for the data of a search: refused, or left out if they come with a preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainables.presets import PRESETS
from trainables.settings import DataSettings, Settings, TrainingSettings
from trainables.tasks.table import find_task, task_name
from trainables.tasks.task import SECTIONS

_DEFAULTS: dict[str, dict[str, Any]] = {name: section().model_dump() for name, section in SECTIONS.items()}


def without_unused(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a search file, with the defaults in place of what a preset sets although it means nothing.

    Raises:
        ValueError: another such value differs from its default.
    """
    given = {name: _as_dict(values.get(name)) for name in _DEFAULTS}
    data_set = given["data"].get("name", _DEFAULTS["data"]["name"])
    unused = _unused_for(data_set, given["data"].get("task"))
    preset = PRESETS.get(str(given["training"].get("preset")))
    for key in unused:
        section, _, name = key.partition(".")
        usual = _DEFAULTS[section][name]
        with_preset = preset.settings.get(name, usual) if preset is not None and section == "training" else usual
        if given[section].get(name, with_preset) not in (usual, with_preset):
            raise ValueError(
                f"{key} is {given[section][name]!r}, which means nothing for {data_set} data; leave it out"
            )
        if with_preset != usual:
            given[section][name] = usual
            values = {**values, section: given[section]}
    return values


def left_out_of_preset(data: DataSettings, training: TrainingSettings) -> list[str]:
    """The settings that the training's preset sets and `without_unused` leaves out."""
    preset = PRESETS[training.preset].settings if training.preset else {}
    unused = _unused_for(data.name, data.task)
    return [key for key in unused if key.startswith("training.") and preset.get(key.partition(".")[2])]


def _unused_for(data_set: object, task: object) -> tuple[str, ...]:
    """The settings that mean nothing for a data set; none if its task, which a search then refuses, is not found."""
    if not isinstance(data_set, str) or not isinstance(task, str | None):
        return ()
    try:
        return find_task(task_name(data_set, task)).unused
    except ValueError:  # a record of it can be read without the module of the user
        return ()


def _as_dict(section: Any) -> dict[str, Any]:
    """The values of a section that are set."""
    if isinstance(section, Settings):
        return section.model_dump(exclude_unset=True)
    return dict(section) if isinstance(section, Mapping) else {}
