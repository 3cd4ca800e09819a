"""What other runs found, for a new one: events that its record begins with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from optuna.distributions import BaseDistribution, CategoricalDistribution

from orchestrator.candidates import ANSWERS
from orchestrator.config import SearchConfig
from orchestrator.errors import ConfigError
from orchestrator.events import TrialImported
from orchestrator.run_directory import RunDirectory
from orchestrator.run_state import Trial

RECIPE = ("network", "data", "training", "trainable")
"""Sections that must agree, or the scores could not be compared. The seed may differ, and with it the split."""

PLACES = ("root", "download")
"""Settings of the data that say where they lie, and not what they are."""


def imported_trials(config: SearchConfig, distributions: Mapping[str, BaseDistribution]) -> list[TrialImported]:
    """The results of the runs that `[warm_start]` names, each candidate once.

    Raises:
        ConfigError: a run's candidates were trained differently, or are not of this space.
        RunDirectoryError: there is no run, or its log is corrupt.
    """
    imported: dict[str, TrialImported] = {}
    for path in config.warm_start.runs:
        directory = RunDirectory(Path(path))
        _check_recipe(config, directory)
        for trial in _results(directory):
            _check_space(trial, path, distributions)
            known = imported.get(trial.fingerprint)
            if known is None or len(known.curve) < len(trial.curve):
                imported[trial.fingerprint] = _import(trial, directory.path.name)
    return list(imported.values())


def _results(directory: RunDirectory) -> Iterator[Trial]:
    """Trials that were trained and ended with a result; those that the run itself imported, too."""
    state = directory.read_state()
    for trial in (*state.imported.values(), *state.trials.values()):
        if trial.status in ANSWERS:
            yield trial


def _check_recipe(config: SearchConfig, directory: RunDirectory) -> None:
    ours, theirs = config.model_dump(mode="json"), directory.read_info().config
    for section in RECIPE:
        for name, value in ours[section].items():
            other = theirs.get(section, {}).get(name)
            if other != value and name not in PLACES:
                raise ConfigError(
                    f"warm_start.runs has {directory.path}, where {section}.{name} is {other!r}; here it is {value!r}, "
                    "so the scores cannot be compared"
                )


def _check_space(trial: Trial, path: str, distributions: Mapping[str, BaseDistribution]) -> None:
    for name, distribution in distributions.items():
        if name not in trial.params:
            raise ConfigError(f"warm_start.runs has {path}, whose candidates have no {name!r}: it is another space")
        value = trial.params[name]
        if isinstance(distribution, CategoricalDistribution) and value not in distribution.choices:
            raise ConfigError(
                f"warm_start.runs has {path}, where {name} is {value!r} in trial {trial.trial_id}; this space has "
                f"{', '.join(map(str, distribution.choices))}"
            )
    for name in trial.params:
        if name not in distributions:
            raise ConfigError(f"warm_start.runs has {path}, whose candidates have {name!r}: it is another space")


def _import(trial: Trial, run: str) -> TrialImported:
    trial_id = trial.trial_id if "/" in trial.trial_id else f"{run}/{trial.trial_id}"
    return TrialImported(
        trial_id=trial_id,
        params=trial.params,
        architecture=trial.architecture,
        fingerprint=trial.fingerprint,
        costs=trial.costs,
        latency_seconds=trial.latency_seconds,
        status=trial.status,
        curve=trial.curve,
    )
