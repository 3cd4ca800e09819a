"""A Gaussian process on the features of cells, as an Optuna sampler for any study, of one objective or several.

Knows Optuna. Knows cells only through the space, if one is given: the space decodes a trial's parameters.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from orchestrator.samplers.encoder import Encoder
from orchestrator.samplers.final_merits import FinalMerits
from orchestrator.samplers.history import (
    TRAININGS,
    Point,
    draw_independently,
    ended_trials,
    finished_trials,
    has_ended,
    new_seed,
    to_point,
)
from orchestrator.samplers.hypervolume import expected_gain, ranking
from search_spaces.cell_space import CellSpace

Floats = NDArray[np.float64]

MAX_FITTED = 500
"""Maximum number of trials in a fit, half of them the best and half the latest: its time grows with the third power."""

SPREAD_AMONG = 50
"""Each of the first trials is the one of so many random points that is the farthest from all others."""

UNKNOWN_GAIN = 0.5
"""Variance, in units of that of all scores, of what a pruned trial gains if too few complete ones say it."""
MAX_EXTRA_NOISE = 10.0
"""In the same units; a score with more says nothing."""


@final
class PredictorSampler(BaseSampler):
    """Bayesian optimisation with a Gaussian process on graph features; options: initial, candidates, parents.

    Until `initial` trials have ended, proposals are random points that are spread out: of some random ones, the one
    that is the farthest from all others. After that, a Gaussian process learns from all trials at every proposal.
    `candidates` points, half of them mutants of the `parents` best trials (one or two decisions are changed) and half
    random, are compared by their expected improvement over the best that the process expects of the trials so far.
    The features are counts of operations, and graph features after GRAF (Kadlecová et al. 2024): see
    `search_spaces.graph_features`. With several objectives, each has a process of its own, and the points are compared
    by the hypervolume that they are expected to add: see `orchestrator.samplers.hypervolume`.

    - A trial that runs counts as what the process expects of it (Ginsbourger et al. 2010, the kriging believer), so
      that many workers get different proposals.
    - A pruned or paused trial counts with its last score plus the median gain of complete trials since that step. Its
      noise grows with the spread of these gains.
    - A candidate that was trained several times has its mean, with less noise.

    With a space, the features of a trial are those of its searched cells. A categorical parameter that is not a
    decision of the space is one-hot, as are all of them without a space. Other parameters are drawn uniformly and are
    not features. The sampler does not propose a point that another trial has tried, is trying or failed at, nor, with a
    space, one with the same fingerprint, unless there is no other.

    The study, the seed and the trial's number determine a proposal, so a rebuilt study continues like the original.

    Args:
        initial: number of trials that have ended before the first fit.
        candidates: number of points compared for a proposal.
        parents: number of best trials that are mutated.
        space: the space whose decisions are the study's parameters; None for any other study.
        seed: seed of all draws; None takes one from the operating system.

    Raises:
        ValueError: initial is below 2, or candidates or parents below 1.
    """

    def __init__(
        self,
        *,
        initial: int = 6,
        candidates: int = 200,
        parents: int = 10,
        space: CellSpace | None = None,
        seed: int | None = None,
    ) -> None:
        for name, value, minimum in (("initial", initial, 2), ("candidates", candidates, 1), ("parents", parents, 1)):
            if value < minimum:
                raise ValueError(f"{name} is {value}; it must be at least {minimum}")
        self._initial = initial
        self._candidates = candidates
        self._parents = parents
        self._seed = new_seed() if seed is None else seed
        self._encoder = Encoder(space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the categorical parameters of the last finished trial; before one has finished, of the first trial."""
        others = ended_trials(study)[-1:] or [other for other in _other_trials(study, trial) if other.params][:1]
        return {
            name: distribution
            for other in others
            for name, distribution in sorted(other.distributions.items())
            if isinstance(distribution, CategoricalDistribution)
        }

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose the untried candidate with the highest expected improvement; at first one far from all others."""
        choices = {
            name: distribution.choices
            for name, distribution in search_space.items()
            if isinstance(distribution, CategoricalDistribution)
        }
        if not choices:
            return {}
        others = _other_trials(study, trial)
        known = {self._encoder.point(study, other) for other in others}
        generator = np.random.default_rng([self._seed, trial.number])
        draws = random.Random(int(generator.integers(2**63)))  # ten times as fast as NumPy for many small draws
        scored = [other for other in finished_trials(study) if choices.keys() <= other.params.keys()]
        can_fit = len(scored) >= self._initial
        if can_fit:
            results = _results(study, scored, generator)
            pool = self._mutants_and_random([scored[place] for place in results.order], choices, draws)
            untried = _untried(itertools.islice(pool, self._candidates), known)
        else:
            untried = _untried(itertools.islice(_random_points(choices, draws), SPREAD_AMONG), known)
        if not untried:
            # More points than are known: if an untried point exists, at least one is among them.
            points = itertools.islice(_all_points(choices, draws), len(known) + self._candidates)
            untried = _untried(points, known)[: self._candidates]
        if not untried:
            return {}
        if can_fit:
            running = [other for other in others if not has_ended(other) and choices.keys() <= other.params.keys()]
            values = self._improvements(
                study,
                untried,
                scored=scored,
                results=results,
                running=running,
                choices=choices,
                generator=generator,
            )
        else:
            values = self._distances(untried, known, choices)
        ranked = [untried[place] for place in np.argsort(-values, kind="stable")]
        return dict(self._encoder.first_new_graph(ranked, known))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw uniformly: in the first trial, and for every parameter that is not categorical."""
        return draw_independently(study, trial, name=param_name, distribution=param_distribution, seed=self._seed)

    def _mutants_and_random(
        self,
        best_first: Sequence[FrozenTrial],
        choices: Mapping[str, Sequence[Any]],
        draws: random.Random,
    ) -> Iterator[dict[str, Any]]:
        """Yield in turn copies of the best trials with one or two decisions changed, and random points, without end."""
        parents = [trial.params for trial in best_first[: self._parents]]
        mutable = sorted(name for name, options in choices.items() if len(options) > 1)
        for fresh in _random_points(choices, draws):
            parent = draws.choice(parents)
            child = {name: parent[name] for name in choices}
            for name in draws.sample(mutable, min(draws.randint(1, 2), len(mutable))):
                child[name] = draws.choice([choice for choice in choices[name] if choice != child[name]])
            yield child
            yield fresh

    def _distances(self, points: Sequence[Point], known: set[Point], choices: Mapping[str, Sequence[Any]]) -> Floats:
        """Return the squared distance of each point to the nearest known one."""
        whole = [point for point in known if choices.keys() <= {name for name, _ in point}]
        if not whole:
            return np.zeros(len(points))
        ours, theirs = (self._encoder.features(some, choices) for some in (points, whole))
        return ((ours[:, None] - theirs[None]) ** 2).sum(-1).min(1)

    def _improvements(
        self,
        study: Study,
        points: Sequence[Point],
        *,
        scored: Sequence[FrozenTrial],
        results: _Results,
        running: Sequence[FrozenTrial],
        choices: Mapping[str, Sequence[Any]],
        generator: np.random.Generator,
    ) -> Floats:
        """Return the expected improvement of each point."""
        # Imported here because it imports SciPy, which not every command needs.
        from orchestrator.samplers.gaussian_process import GaussianProcess

        fitted = _best_and_latest(results.order)
        seen = self._encoder.features([self._encoder.point(study, scored[place]) for place in fitted], choices)
        asked = self._encoder.features(points, choices)
        waiting = [self._encoder.point(study, other) for other in running]
        expected, means, deviations = [], [], []
        for targets, extra_noise in zip(results.targets.T, results.extra_noise.T, strict=True):
            process = GaussianProcess(seen, targets[fitted], results.repeats[fitted], extra_noise[fitted])
            expected.append(process.predict(seen)[0])
            if waiting:
                process.add_expected(self._encoder.features(waiting, choices))
            mean, deviation = process.predict(asked)
            means.append(mean)
            deviations.append(deviation)
        if len(means) == 1:
            return expected_improvement(means[0] - expected[0].max(), deviations[0])
        return expected_gain(np.stack(means, 1), np.stack(deviations, 1), np.stack(expected, 1), generator)


class _Results(NamedTuple):
    """Results of trials as arrays: one entry per trial, or one row per trial and one column per objective."""

    order: NDArray[np.int64]
    """The places of the trials, best first."""
    targets: Floats
    """The scores for the Gaussian process, higher is better: each column has a mean of 0 and a variance of 1."""
    repeats: Floats
    """Number of trainings that the score averages."""
    extra_noise: Floats
    """Variance of the target in addition to the noise of a training: more for pruned trials."""


def expected_improvement(gain: Floats, deviation: Floats) -> Floats:
    """Return the mean of the positive part of normal variables (Jones et al. 1998, equation 15)."""
    ratio = gain / deviation
    density = np.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi)
    normal = NormalDist()
    return gain * np.array([normal.cdf(one) for one in ratio.tolist()]) + deviation * density


def _results(study: Study, scored: Sequence[FrozenTrial], generator: np.random.Generator) -> _Results:
    ranked, targets, extra_noise = [], [], []
    for objective in range(len(study.directions)):
        final = FinalMerits(study, scored, objective=objective)
        merits = np.array([final.of(trial) for trial in scored])
        column, unit = _targets(merits)
        variances = np.array([final.variance_of(trial) for trial in scored])
        extra = np.where(np.isnan(variances), UNKNOWN_GAIN, np.nan_to_num(variances) / unit**2)
        ranked.append(column + np.isposinf(merits) - np.isneginf(merits))  # the target of an infinite score is finite
        targets.append(column)
        extra_noise.append(np.minimum(extra, MAX_EXTRA_NOISE))
    repeats = np.array([float(trial.user_attrs.get(TRAININGS, 1)) for trial in scored])
    order = ranking(np.stack(ranked, 1), generator)
    return _Results(order, np.stack(targets, 1), repeats, np.stack(extra_noise, 1))


def _targets(merits: Floats) -> tuple[Floats, float]:
    """Map merits to targets with a mean of 0 and a variance of 1; return them and the merit that is one unit.

    Above the median they are linear, because the differences among the best matter. Below it they are logarithmic, so
    that a few trials that learned nothing do not dominate the fit.
    """
    finite = np.isfinite(merits)
    if not finite.any():
        return np.zeros(len(merits)), 1.0
    merits = np.where(finite, merits, np.where(merits > 0, merits[finite].max(), merits[finite].min()))
    gaps = merits - np.median(merits)
    unit = float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else 1.0
    bent = np.where(gaps > 0, gaps / unit, -np.log1p(np.maximum(-gaps, 0.0) / unit))
    deviation = float(bent.std()) or 1.0
    return (bent - bent.mean()) / deviation, unit * deviation


def _best_and_latest(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of the trials in a fit, in their order."""
    count = len(order)
    if count <= MAX_FITTED:
        return np.arange(count)
    best = order[: MAX_FITTED // 2]
    others = np.setdiff1d(np.arange(count), best)
    return np.sort(np.concatenate([best, others[-(MAX_FITTED - len(best)) :]]))


def _random_points(choices: Mapping[str, Sequence[Any]], draws: random.Random) -> Iterator[dict[str, Any]]:
    """Yield random points without end."""
    while True:
        yield {name: draws.choice(options) for name, options in choices.items()}


def _all_points(choices: Mapping[str, Sequence[Any]], draws: random.Random) -> Iterator[dict[str, Any]]:
    """Iterate over all points, with the choices of each decision in a random order."""
    shuffled = [draws.sample(options, len(options)) for options in choices.values()]
    return (dict(zip(choices, values, strict=True)) for values in itertools.product(*shuffled))


def _untried(candidates: Iterable[dict[str, Any]], known: set[Point]) -> list[Point]:
    """Return the candidates as points, without duplicates and without known points."""
    return [point for point in dict.fromkeys(map(to_point, candidates)) if point not in known]


def _other_trials(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """Return all other trials that have started: running, finished or failed."""
    others = study.get_trials(deepcopy=False)
    return [other for other in others if other.number != trial.number and other.state != TrialState.WAITING]
