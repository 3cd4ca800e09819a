"""The table of tasks, and of the data sets of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trainables.image_arrays import DataSource
from trainables.plugins import import_plugin, is_plugin_name
from trainables.reading import Reading
from trainables.settings import DataSettings, did_you_mean
from trainables.tasks.images import IMAGES
from trainables.tasks.segmentation import SEGMENTATION
from trainables.tasks.signals import SIGNALS
from trainables.tasks.task import Task
from trainables.tasks.texts import TEXTS

TASKS: Mapping[str, Task] = {"image": IMAGES, "segmentation": SEGMENTATION, "signal": SIGNALS, "text": TEXTS}
"""By their names in records and exported files."""

DATASETS: dict[str, Callable[[DataSettings], DataSource]] = {
    name: load for task in TASKS.values() for name, load in task.data_sets.items()
}
"""Built-in data sets of all tasks, by their names in a search file."""


def find_task(name: str) -> Task:
    """The task of this name: one of `TASKS`, or `module:NAME`.

    Raises:
        ValueError: there is none.
    """
    if name in TASKS:
        return TASKS[name]
    if not is_plugin_name(name):
        raise ValueError(f"known: {', '.join(TASKS)}, or 'module:NAME'{did_you_mean(name, TASKS)}")
    task = import_plugin(name)
    if not isinstance(task, Task):
        raise ValueError("which is not a Task")
    return task


def task_name(data_set: str, task: str | None) -> str:
    """The name of a data set's task: the one that the settings give, or else that of the built-in data set.

    A function of a user returns images unless they give another one.
    """
    return task or next((name for name, known in TASKS.items() if data_set in known.data_sets), "image")


def reading_of(value: Mapping[str, Any] | None) -> Reading:
    """Inverse of `Reading.to_json`; None or an empty value for pictures.

    Raises:
        ValueError: the value does not have that form.
    """
    name = (value or {}).get("task", "image")
    try:
        task = find_task(name)
    except ValueError as error:
        raise ValueError(f"the preprocessing names the task {name!r}: {error}") from error
    return task.reading(value or {})
