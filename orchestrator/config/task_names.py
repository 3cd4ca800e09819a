"""Checks that a search file names a task and a data set of that task."""

from __future__ import annotations

from orchestrator.config.plugins import check_name
from trainables.settings import DataSettings
from trainables.tasks.table import DATASETS, TASKS, find_task


def check_data(settings: DataSettings) -> None:
    """Refuse a task or a data set that is unknown.

    A task of the user's own is not looked for: a record of it can be read without its module, and a search imports it.

    Raises:
        ConfigError: lists the known names.
    """
    if settings.task is None:
        check_name("data.name", settings.name, DATASETS)
        return
    check_name("data.task", settings.task, TASKS)
    try:
        known = find_task(settings.task).data_sets
    except ValueError:
        return
    check_name("data.name", settings.name, known)
