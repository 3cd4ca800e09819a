"""The table of tasks, and of the data sets of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trainables.image_arrays import DataSource
from trainables.reading import Reading
from trainables.settings import DataSettings
from trainables.tasks.images import IMAGES
from trainables.tasks.signals import SIGNALS
from trainables.tasks.task import Task
from trainables.tasks.texts import TEXTS

TASKS: Mapping[str, Task] = {"image": IMAGES, "signal": SIGNALS, "text": TEXTS}
"""By their names in records and exported files."""

DATASETS: dict[str, Callable[[DataSettings], DataSource]] = {
    name: load for task in TASKS.values() for name, load in task.data_sets.items()
}
"""Built-in data sets of all tasks, by their names in a search file."""


def task_of(data_set: str) -> Task:
    """The task of a data set; the function of a user returns images."""
    return next((task for task in TASKS.values() if data_set in task.data_sets), IMAGES)


def reading_of(value: Mapping[str, Any] | None) -> Reading:
    """Inverse of `Reading.to_json`; None or an empty value for pictures.

    Raises:
        ValueError: the value does not have that form.
    """
    name = (value or {}).get("task", "image")
    if name not in TASKS:
        raise ValueError(f"not a reading: the task {name!r} is unknown")
    return TASKS[name].reading(value or {})
