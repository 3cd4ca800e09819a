"""What a search begins with: the results of other runs, and the architectures that are tried first. Both are events.

Does not know the sampler, nor how the events are recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from optuna.distributions import BaseDistribution, CategoricalDistribution

from orchestrator.config import PLACES, SamplerSettings, SearchConfig
from orchestrator.errors import ConfigError, InputError, RunDirectoryError
from orchestrator.record import CandidatesQueued, RecordedRun, Trial, TrialImported, find_network
from orchestrator.search.candidates import RESULT_STATUSES
from search_spaces import CellSpace

RECIPE = ("space", "network", "data", "training", "trainable")
"""Sections that must be equal for scores to be comparable. The seed may differ, and with it the split."""


@dataclass(frozen=True)
class WarmStart:
    """The runs that `[warm_start]` names, each read once."""

    runs: Sequence[RecordedRun]

    @classmethod
    def read(cls, config: SearchConfig) -> Self:
        """Read the records, and check that their candidates were trained with the settings of this search.

        Raises:
            ConfigError: a run cannot be used; the message says why.
        """
        try:
            runs = [RecordedRun.of_search(location) for location in config.warm_start.runs]
        except RunDirectoryError as error:
            raise ConfigError(f"warm_start.runs: {error}") from error
        for run in runs:
            _check_recipe(config, run)
        return cls(runs)

    def check_scores(self, bounds: tuple[float, float] | None) -> None:
        """Refuse runs whose trainable has `score_bounds` different from this search's trainable.

        Raises:
            ConfigError: a run has other bounds.
        """
        for run in self.runs:
            if run.info.score_bounds != bounds:
                raise ConfigError(
                    f"warm_start.runs has {run.directory}, whose score_bounds are {run.info.score_bounds}; here they "
                    f"are {bounds}, so the scores cannot be compared"
                )

    def trials(
        self, config: SearchConfig, space: CellSpace, distributions: Mapping[str, BaseDistribution]
    ) -> list[TrialImported]:
        """Return the results of the runs as events: for each candidate the trial that was trained longest.

        Raises:
            ConfigError: a run's candidates are not from this space, or lack an objective.
            RunDirectoryError: a log is corrupt.
        """
        imported: dict[str, TrialImported] = {}
        for run in self.runs:
            location = run.directory.location
            for trial in _results(run):
                _check_space(trial, location, distributions)
                _check_candidate(trial, location, space=space, config=config)
                known = imported.get(trial.fingerprint)
                if known is None or len(known.curve) < len(trial.curve):
                    imported[trial.fingerprint] = _import(trial, run.directory.folder.name)
        return _with_unique_ids(imported.values())

    def check_images(self, config: SearchConfig, facts: Mapping[str, Any]) -> None:
        """Refuse runs that were trained on other images. Call it after the images of this search are read.

        Args:
            config: of this search.
            facts: about its images, as `DataSplits.describe` returns them.

        Raises:
            ConfigError: a run was trained on other images.
        """
        for run in self.runs:
            ours, theirs = _split_independent(facts), _split_independent(run.info.data)
            if run.info.seed == config.run.seed:  # the split is then the same
                ours["sha256"], theirs["sha256"] = facts["sha256"], run.info.data.get("sha256")
            for name, value in ours.items():
                if theirs[name] != value:
                    raise ConfigError(
                        f"warm_start.runs has {run.directory}, whose {name} is {theirs[name]!r}; of this search's data "
                        f"it is {value!r}, so the scores cannot be compared (data.root)"
                    )


def queue_candidates(settings: SamplerSettings, space: CellSpace) -> CandidatesQueued:
    """Find the architectures that `sampler.start_with` names, and return the event that queues them.

    Raises:
        ConfigError: a name is not an architecture, or is one that is not in the space.
    """
    params = []
    for name in settings.start_with:
        try:
            architecture = find_network(name).architecture
        except InputError as error:
            raise ConfigError(f"sampler.start_with: {error}") from error
        try:
            params.append(space.encode(architecture))
        except ValueError as error:
            raise ConfigError(f"sampler.start_with has {name!r}, which is not in the space: {error}") from error
    return CandidatesQueued(params=params)


def _split_independent(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about a data set that do not depend on the seed of its split."""
    images = sum(facts.get(part, 0) for part in ("train", "validation", "test"))
    return {"image_shape": facts.get("image_shape"), "classes": facts.get("classes"), "number of images": images}


def _results(run: RecordedRun) -> Iterator[Trial]:
    """Yield the trials that ended with a result, including those that the run had imported."""
    state = run.state()
    for trial in (*state.imported.values(), *state.trials.values()):
        if trial.status in RESULT_STATUSES:
            yield trial


def _check_recipe(config: SearchConfig, run: RecordedRun) -> None:
    ours, theirs = config.model_dump(mode="json"), run.info.config
    for section in RECIPE:
        for name, value in ours[section].items():
            other = theirs.get(section, {}).get(name)
            if other != value and name not in PLACES:
                raise ConfigError(
                    f"warm_start.runs has {run.directory}, where {section}.{name} is {other!r}; here it is {value!r}, "
                    "so the scores cannot be compared"
                )


def _check_space(trial: Trial, path: str, distributions: Mapping[str, BaseDistribution]) -> None:
    for name, distribution in distributions.items():
        if name not in trial.params:
            raise ConfigError(f"warm_start.runs has {path}, whose candidates have no {name!r}; its space differs")
        value = trial.params[name]
        if isinstance(distribution, CategoricalDistribution) and value not in distribution.choices:
            raise ConfigError(
                f"warm_start.runs has {path}, where {name} is {value!r} in trial {trial.trial_id}; this space has "
                f"{', '.join(map(str, distribution.choices))}"
            )
    for name in trial.params:
        if name not in distributions:
            raise ConfigError(f"warm_start.runs has {path}, whose candidates have {name!r}; its space differs")


def _check_candidate(trial: Trial, path: str, *, space: CellSpace, config: SearchConfig) -> None:
    if space.decode(trial.params).fingerprint != trial.fingerprint:
        raise ConfigError(
            f"warm_start.runs has {path}, where the decisions of trial {trial.trial_id} give another network in "
            "this space"
        )
    for name in config.objectives.directions:
        if trial.status == "completed" and trial.metric(name) is None:
            raise ConfigError(f"warm_start.runs has {path}, whose trials have no {name!r}, an objective of this search")


def _with_unique_ids(trials: Iterable[TrialImported]) -> list[TrialImported]:
    """Make ids unique: two runs with the same name in different folders can give the same ids."""
    found: dict[str, TrialImported] = {}
    for trial in trials:
        trial_id = trial.trial_id
        while trial_id in found:
            trial_id += "~"
        found[trial_id] = trial.model_copy(update={"trial_id": trial_id})
    return list(found.values())


def _import(trial: Trial, run: str) -> TrialImported:
    run = re.sub(r"[^A-Za-z0-9._-]|^\.", "_", run)  # folder names may have characters that ids may not
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
