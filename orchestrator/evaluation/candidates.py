"""The search that is evaluated: its record, read once, and its best candidates. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.config import (
    BudgetSettings,
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
    def read(cls, run_dir: Path | str) -> EvaluatedSearch:
        """Read the record of the search.

        Raises:
            RunDirectoryError: there is no search, it has not ended, or its log is corrupt.
        """
        run = RecordedRun.of_ended_search(run_dir)
        events = run.events()
        return cls(run, events, RunState.replay(events))

    @property
    def config(self) -> SearchConfig:
        """The settings of the search.

        Raises:
            ConfigError: they are not those of this version.
        """
        return self.run.config

    @property
    def trained(self) -> int:
        """Candidates that were trained, the pruned ones included."""
        return sum(trial.attempt > 0 for trial in self.state.trials.values())

    def best(self, most: int | None) -> list[Trial]:
        """At most so many candidates, best first: of its leaderboard, on which pruned ones follow those that completed,
        or with several objectives of its Pareto front."""
        front = {trial.trial_id for trial in self.state.front}
        several = len(self.state.objectives) > 1
        ranking = [
            trial
            for trial in self.state.ranking()
            if (trial.trial_id in front if several else trial.status in ("completed", "pruned"))
        ]
        once = {trial.fingerprint: trial for trial in reversed(ranking)}
        return [trial for trial in ranking if once[trial.fingerprint] is trial][:most]

    def evaluation_config(self) -> SearchConfig:
        """That of the search, but that each training has its whole budget and nothing is proposed."""
        return self._named("evaluation").model_copy(
            update={
                "sampler": SamplerSettings(name="random"),
                "scheduler": SchedulerSettings(name="fifo"),
                "warm_start": WarmStartSettings(),
                "budget": BudgetSettings(),
            }
        )

    def random_config(self) -> SearchConfig:
        """That of a search of the same budget and scheduler whose candidates are drawn at random, and other ones than
        those that the run's seed makes samplers begin with."""
        return self._named("random").model_copy(
            update={
                "sampler": SamplerSettings(name="random", options={"seed": self.config.run.seed + 1}),
                "warm_start": WarmStartSettings(),
            }
        )

    def _named(self, what: str) -> SearchConfig:
        """Of another run beside the search. No other tool is told of it, where its trials would be taken for more of
        the search's."""
        run = self.config.run.model_copy(update={"name": f"{self.config.run.name[:80]}-{what}"})
        return self.config.model_copy(update={"run": run, "logging": LoggingSettings()})


def candidates_of(best: Sequence[Trial], sampled: Trial | None) -> list[EvaluatedCandidate]:
    """What is evaluated: the best of the search, and that of the random sample, which may be one of them.

    Args:
        best: of the search, best first.
        sampled: the best of the random sample.
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
