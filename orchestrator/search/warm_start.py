"""What other runs found, for a new one: events that its record begins with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from orchestrator.config import PLACES, SearchConfig
from orchestrator.errors import ConfigError
from orchestrator.record import RunDirectory, Trial, TrialImported
from orchestrator.search.candidates import ANSWERS
from search_spaces import CellSpace

RECIPE = ("space", "network", "data", "training", "trainable")
"""Sections that must agree, or the scores could not be compared. The seed may differ, and with it the split."""


def imported_trials(
    config: SearchConfig, space: CellSpace, distributions: Mapping[str, BaseDistribution]
) -> list[TrialImported]:
    """The results of the runs that `[warm_start]` names, each candidate once.

    Raises:
        ConfigError: a run's candidates were trained differently, or are not of this space.
        RunDirectoryError: there is no run, or its log is corrupt.
    """
    imported: dict[str, TrialImported] = {}
    for path in config.warm_start.runs:
        directory = RunDirectory.at(path)
        if directory.read_info().evaluation is not None:
            raise ConfigError(f"warm_start.runs has {directory}, which holds an evaluation and no search")
        _check_recipe(config, directory)
        for trial in _results(directory):
            _check_space(trial, path, distributions)
            _check_candidate(trial, path, space, config)
            known = imported.get(trial.fingerprint)
            if known is None or len(known.curve) < len(trial.curve):
                imported[trial.fingerprint] = _import(trial, directory.folder.name)
    return _each_by_its_own_id(imported.values())


def check_images(config: SearchConfig, facts: Mapping[str, Any]) -> None:
    """What can be seen of the runs' images only once those of this search were read, `facts` of them.

    Raises:
        ConfigError: a run's scores are of other images.
    """
    for path in config.warm_start.runs:
        directory = RunDirectory.at(path)
        info = directory.read_info()
        ours, theirs = _of_any_split(facts), _of_any_split(info.data)
        if info.seed == config.run.seed:  # and the split is the same
            ours["sha256"], theirs["sha256"] = facts["sha256"], info.data.get("sha256")
        for name, value in ours.items():
            if theirs[name] != value:
                raise ConfigError(
                    f"warm_start.runs has {directory}, whose {name} is {theirs[name]!r}; of this search's data it is "
                    f"{value!r}, so the scores cannot be compared (data.root)"
                )


def _of_any_split(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of a data set that do not depend on the seed by which it was split."""
    images = sum(facts.get(part, 0) for part in ("train", "validation", "test"))
    return {"image_shape": facts.get("image_shape"), "classes": facts.get("classes"), "number of images": images}


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
                    f"warm_start.runs has {directory}, where {section}.{name} is {other!r}; here it is {value!r}, "
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


def _check_candidate(trial: Trial, path: str, space: CellSpace, config: SearchConfig) -> None:
    if space.decode(trial.params).fingerprint != trial.fingerprint:
        raise ConfigError(
            f"warm_start.runs has {path}, where the decisions of trial {trial.trial_id} mean another network than in "
            "this space"
        )
    for name in config.objectives.directions:
        if trial.status == "completed" and trial.metric(name) is None:
            raise ConfigError(f"warm_start.runs has {path}, whose trials have no {name!r}, an objective of this search")


def _each_by_its_own_id(trials: Iterable[TrialImported]) -> list[TrialImported]:
    """Runs of one name in two folders would give two trials one id."""
    found: dict[str, TrialImported] = {}
    for trial in trials:
        trial_id = trial.trial_id
        while trial_id in found:
            trial_id += "~"
        found[trial_id] = trial.model_copy(update={"trial_id": trial_id})
    return list(found.values())


def _import(trial: Trial, run: str) -> TrialImported:
    run = re.sub(r"[^A-Za-z0-9._-]|^\.", "_", run)  # a folder may have any name, an id may not
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
