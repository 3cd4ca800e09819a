"""Reads the record of the search that is evaluated, and chooses its best candidates.

Writes nothing, and does not know how candidates are trained or compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.config import (
    BudgetSettings,
    ConfirmationSettings,
    LoggingSettings,
    SamplerSettings,
    SchedulerSettings,
    SearchConfig,
    WarmStartSettings,
)
from orchestrator.record import EvaluatedCandidate, Event, RecordedRun, RunState, Trial


@dataclass(frozen=True)
class EvaluatedSearch:
    """A search that has ended, with its events."""

    run: RecordedRun
    events: Sequence[Event]
    state: RunState

    @classmethod
    def read(cls, run_dir: Path | str, changes: Sequence[str] = ()) -> EvaluatedSearch:
        """Read the record of the search. `changes` say where its images are now: see `RecordedRun.with_data_at`.

        Raises:
            ConfigError: a change is not of the place of the images.
            RunDirectoryError: there is no search, it has not ended, or its log is corrupt.
        """
        run = RecordedRun.of_ended_search(run_dir).with_data_at(changes)
        events = run.events()
        return cls(run, events, RunState.replay(events))

    @property
    def config(self) -> SearchConfig:
        """The settings of the search.

        Raises:
            ConfigError: this version does not accept them.
        """
        return self.run.config

    def evaluation_config(self) -> SearchConfig:
        """Return the settings for the evaluation: those of the search, without early stopping and without a budget."""
        return self._named("evaluation").model_copy(
            update={
                "confirmation": ConfirmationSettings(candidates=0),
                "sampler": SamplerSettings(name="random"),
                "scheduler": SchedulerSettings(name="fifo"),
                "warm_start": WarmStartSettings(),
                "budget": BudgetSettings(),
            }
        )

    def random_config(self) -> SearchConfig:
        """Return the settings for a random search with the same scheduler and the budget of the search itself.

        Its sampler has another seed, so that it does not draw the candidates with which the search began.
        """
        budget = self.config.budget
        hours = None if budget.hours is None else budget.hours * self.config.fraction_for_search(any_completed=True)
        return self._named("random").model_copy(
            update={
                "budget": budget.model_copy(update={"hours": hours}),
                "confirmation": ConfirmationSettings(candidates=0),
                "sampler": SamplerSettings(name="random", options={"seed": self.config.run.seed + 1}),
                "warm_start": WarmStartSettings(),
            }
        )

    def _named(self, what: str) -> SearchConfig:
        """Return the settings under another run name, without trackers.

        A tracker would show the trials of this run as trials of the search.
        """
        run = self.config.run.model_copy(update={"name": f"{self.config.run.name[:80]}-{what}"})
        return self.config.model_copy(update={"run": run, "logging": LoggingSettings()})


def candidates_of(best: Sequence[Trial], sampled: Trial | None) -> list[EvaluatedCandidate]:
    """Return the candidates to evaluate: the best of the search, and the best of the random search.

    Both may have found the same candidate, which is then evaluated once.

    Args:
        best: of the search, best first.
        sampled: the best of the random search; None if there is none.
    """
    candidates = [_candidate(trial, trial_id=trial.trial_id) for trial in best]
    if sampled is None:
        return candidates
    if sampled.fingerprint not in {trial.fingerprint for trial in best}:
        return [*candidates, _candidate(sampled, random_id=sampled.trial_id)]
    return [
        candidate.model_copy(update={"random_id": sampled.trial_id})
        if candidate.fingerprint == sampled.fingerprint
        else candidate
        for candidate in candidates
    ]


def _candidate(trial: Trial, *, trial_id: str | None = None, random_id: str | None = None) -> EvaluatedCandidate:
    return EvaluatedCandidate(
        trial_id=trial_id,
        random_id=random_id,
        params=trial.params,
        architecture=trial.architecture,
        fingerprint=trial.fingerprint,
        costs=trial.costs,
    )
