"""The bridge: Ray Tune's `Searcher` over an in-memory Optuna study.

Differs from Ray Tune's own `OptunaSearch` where that is wrong: a trial that the scheduler stopped reaches Optuna as
PRUNED with its curve by true epoch, never as COMPLETE with a low-epoch score; a trial that diverged or failed as FAIL.

Knows Optuna and Ray Tune. Does not know cells, networks or the record.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Quantized, Uniform

OnSuggestion = Callable[[str, int, dict[str, Any], float], None]

optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would announce every study on standard error


@final
class OptunaSearcher(Searcher):
    """Proposes what an Optuna sampler proposes, and tells it how each trial ended.

    Results need `epoch`, counted by the trial itself, and the metric; where several epochs are reported together,
    `curve` holds a row of both for each. A true `diverged` marks a trial whose loss is not finite.

    Args:
        sampler: any Optuna sampler for one objective.
        max_epochs: a trial that reached this epoch is complete.
        on_suggestion: called with Ray Tune's trial id, Optuna's trial number, the parameters, and the seconds that
            asking the sampler took.
    """

    def __init__(self, sampler: BaseSampler, *, max_epochs: int, on_suggestion: OnSuggestion | None = None) -> None:
        super().__init__()
        self._sampler = sampler
        self._max_epochs = max_epochs
        self._on_suggestion = on_suggestion
        self._distributions: dict[str, BaseDistribution] = {}
        self._running: dict[str, optuna.Trial] = {}
        self._study: optuna.Study | None = None

    @property
    def study(self) -> optuna.Study:
        """The study; it exists once Ray Tune has told the metric and the space."""
        assert self._study is not None, "set_search_properties() comes first"
        return self._study

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Called by Ray Tune with the metric and the parameter space."""
        if metric is None:
            return False
        self._metric: str = metric
        self._distributions = {name: to_distribution(name, domain) for name, domain in config.items()}
        direction = StudyDirection.MINIMIZE if mode == "min" else StudyDirection.MAXIMIZE
        self._study = optuna.create_study(sampler=self._sampler, direction=direction)
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """The parameters that the sampler proposes next."""
        started = time.perf_counter()
        trial = self.study.ask(self._distributions)
        self._running[trial_id] = trial
        if self._on_suggestion is not None:
            self._on_suggestion(trial_id, trial.number, dict(trial.params), time.perf_counter() - started)
        return dict(trial.params)

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Report the epochs of a trial that goes on."""
        self._report(self._running[trial_id], result)

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Tell how a trial ended; `result` is its last one."""
        trial = self._running.pop(trial_id)
        if error or result is None or self._metric not in result or result.get("diverged"):
            self.study.tell(trial, state=TrialState.FAIL)
            return
        self._report(trial, result)
        if result["epoch"] >= self._max_epochs:
            self.study.tell(trial, result[self._metric])
        else:
            self.study.tell(trial, state=TrialState.PRUNED)

    def _report(self, trial: optuna.Trial, result: Mapping[str, Any]) -> None:
        for row in result.get("curve", [result]):
            if math.isfinite(row[self._metric]):
                trial.report(row[self._metric], step=row["epoch"])

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study can be rebuilt from the event log."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as `save`."""


def to_distribution(name: str, domain: Any) -> BaseDistribution:
    """Ray Tune's domain as Optuna's distribution.

    Raises:
        ValueError: Optuna has no such distribution.
    """
    if not isinstance(domain, Domain):
        raise ValueError(f"parameter {name!r} is {domain!r}; the space must be flat, of Ray Tune domains only")
    sampler = domain.get_sampler()
    step = sampler.q if isinstance(sampler, Quantized) else None
    law = sampler.sampler if isinstance(sampler, Quantized) else sampler
    log = isinstance(law, LogUniform)
    if log and step is not None:
        raise ValueError(f"parameter {name!r} is logarithmic and quantised; Optuna has no such distribution")
    if not isinstance(law, Uniform | LogUniform):
        raise ValueError(f"parameter {name!r} is drawn by {type(law).__name__}, which Optuna cannot sample")
    match domain:
        case Categorical():
            return CategoricalDistribution(domain.categories)
        case Integer():  # Ray Tune excludes the upper bound, but not where it quantises
            high = domain.upper if step is not None else domain.upper - 1
            return IntDistribution(domain.lower, high, log=log, step=int(step or 1))
        case Float():
            return FloatDistribution(domain.lower, domain.upper, log=log, step=step)
    raise ValueError(f"parameter {name!r} has the domain {type(domain).__name__}, which Optuna cannot sample")
