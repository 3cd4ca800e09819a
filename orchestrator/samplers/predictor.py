"""A learned predictor that proposes, as an Optuna sampler: it works in any study of one objective.

Knows Optuna. Of cells it knows only what a space, if it is given one, makes of a trial's parameters.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from orchestrator.samplers.history import Point, draw_independently, finished_trials, merit, new_seed

if TYPE_CHECKING:
    from search_spaces import Architecture, CellSpace

Features = Counter[Hashable]
Vector = npt.NDArray[np.float64]

REFIT_EVERY = 10
"""Finished trials between two fits, as in the authors' code."""

COLUMNS = 256
"""Features that a fit uses at most, those that the most trials have; its time grows as their square. NAS-Bench-201 has
155 paths."""

RIDGE = 1.0
"""Weight of the penalty on a member's coefficients; its targets have a variance of 1. The result hardly changes
between 0.3 and 3."""

READINGS = 4096
"""Candidates whose features are remembered. The same neighbours of the best trials come up again and again."""


@final
class PredictorSampler(BaseSampler):
    """Predictor-guided search (BANANAS, White et al. 2021); options: initial, ensemble, candidates, parents.

    The first `initial` trials are random. After that, an ensemble learns from all finished trials how good an
    architecture is. Each proposal mutates the `parents` best trials into `candidates` (one or two decisions are
    changed), draws a score for each from the mean and spread of the ensemble's predictions (independent Thompson
    sampling), and takes the best. So does the paper. What is different:

    - The members are ridge regressions, each on a bootstrap sample, not neural networks. On NAS-Bench-201 they were as
      good as Gaussian processes and better than forests on the same features, at less cost.
    - They predict normal scores of the trials' ranks, so that a few trials that learned nothing do not decide the fit.
    - Paths are counted, not only noticed, and the most frequent ones are kept (see `search_spaces.path_encoding`).

    With a space, the features of a trial are the paths of its searched cells; a categorical parameter that is no
    decision of the space, or any without one, is one-hot. Other parameters are drawn uniformly, and not learned from.

    A pruned trial counts with its last score plus what complete trials gained since that step (the median), because a
    score of few epochs would rank below every complete one's. Trials without a score teach nothing. No point is
    proposed that any other trial tried, tries or failed at, nor, with a space, one of the same fingerprint, unless
    there is nothing else.

    All random draws come from the seed and the trial's number, those of a fit from the seed and the number of finished
    trials. Fits happen at fixed numbers of them, so a study that is rebuilt goes on as the old one would.

    Args:
        initial: random trials before the first fit; 10 in the authors' code.
        ensemble: members; 5 in the paper.
        candidates: mutants that are compared for a proposal.
        parents: best trials that are mutated; 1 in the authors' code.
        space: of which the study's parameters are the decisions; None for any other study.
        seed: of all draws; None takes one from the operating system.

    Raises:
        ValueError: initial or ensemble is below 2, or candidates or parents below 1.
    """

    several_objectives = False

    def __init__(
        self,
        *,
        initial: int = 20,
        ensemble: int = 10,
        candidates: int = 200,
        parents: int = 10,
        space: CellSpace | None = None,
        seed: int | None = None,
    ) -> None:
        # One trial has no rank, and one member no spread.
        for name, value, least in (
            ("initial", initial, 2),
            ("ensemble", ensemble, 2),
            ("candidates", candidates, 1),
            ("parents", parents, 1),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}; at least {least} is needed")
        self._initial = initial
        self._ensemble = ensemble
        self._candidates = candidates
        self._parents = parents
        self._seed = new_seed() if seed is None else seed
        self._reader = _Reader(space)
        self._fit: _Fit | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The categorical decisions of the last trial to finish, or as long as there is none, of the first trial."""
        others = finished_trials(study)[-1:] or [other for other in _others(study, trial) if other.params][:1]
        return {
            name: distribution
            for other in others
            for name, distribution in sorted(other.distributions.items())
            if isinstance(distribution, CategoricalDistribution)
        }

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The fresh candidate of which the ensemble promises the most; at the beginning, any fresh point."""
        choices = {
            name: distribution.choices
            for name, distribution in search_space.items()
            if isinstance(distribution, CategoricalDistribution)
        }
        if not choices:
            return {}
        known = {self._reader.point(study, other) for other in _others(study, trial)}
        generator = np.random.default_rng([self._seed, trial.number])
        draws = random.Random(int(generator.integers(2**63)))  # many small draws, of which it makes ten in NumPy's one
        finished = finished_trials(study)
        learned = len(finished) >= self._initial
        drafts = self._mutants(study, finished, choices, draws) if learned else _random(choices, draws)
        fresh = _fresh(itertools.islice(drafts, self._candidates), known)
        if not fresh:
            # As many points as are known and some more: if there is a fresh one anywhere, one is among them.
            every = itertools.islice(_every(choices, draws), len(known) + self._candidates)
            fresh = _fresh(every, known)[: self._candidates]
        if learned and fresh:
            scores = self._up_to_now(study, finished).draw(fresh, generator)
            fresh = [fresh[place] for place in np.argsort(-scores, kind="stable")]
        return dict(self._reader.first_new(fresh, known)) if fresh else {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A uniform draw, of the first trial and of all that is not categorical."""
        return draw_independently(self._seed, study, trial, param_name, param_distribution)

    def _mutants(
        self,
        study: Study,
        finished: list[FrozenTrial],
        choices: Mapping[str, Sequence[Any]],
        draws: random.Random,
    ) -> Iterator[dict[str, Any]]:
        """Copies of the best trials with one or two decisions drawn anew, to another value."""
        best = np.argsort(-_final_merits(study, finished), kind="stable")[: self._parents]
        parents = [finished[place].params for place in best.tolist()]
        several = sorted(name for name, options in choices.items() if len(options) > 1)
        while True:
            parent = draws.choice(parents)
            child = {name: parent[name] if name in parent else draws.choice(choices[name]) for name in choices}
            for name in draws.sample(several, min(draws.randint(1, 2), len(several))):
                child[name] = draws.choice([choice for choice in choices[name] if choice != child[name]])
            yield child

    def _up_to_now(self, study: Study, finished: list[FrozenTrial]) -> _Fit:
        """The fit that is due at this number of finished trials, which is the last one most of the time."""
        due = len(finished) - (len(finished) - self._initial) % REFIT_EVERY
        numbers = [trial.number for trial in finished[:due]]
        if self._fit is None or not self._fit.is_of(study, numbers):
            generator = np.random.default_rng([self._seed, due])
            self._fit = _Fit(study, finished[:due], self._reader, self._ensemble, generator)
        return self._fit


class _Fit:
    """The ensemble, fitted to some finished trials; a memory of what can be read off the study at any time."""

    def __init__(
        self, study: Study, finished: list[FrozenTrial], reader: _Reader, members: int, generator: np.random.Generator
    ) -> None:
        self._study = study
        self._numbers = [trial.number for trial in finished]
        self._reader = reader
        features = [reader.read(reader.point(study, trial)).features for trial in finished]
        frequency = Counter(key for counts in features for key in counts)
        self._columns = {key: place for place, (key, _) in enumerate(frequency.most_common(COLUMNS))}
        inputs = self._matrix(features)
        targets = _normal_scores(_final_merits(study, finished))
        samples = generator.integers(len(finished), size=(members, len(finished)))
        self._members = [_ridge(inputs[sample], targets[sample]) for sample in samples]

    def is_of(self, study: Study, numbers: list[int]) -> bool:
        return study is self._study and numbers == self._numbers

    def draw(self, points: Sequence[Point], generator: np.random.Generator) -> Vector:
        """A plausible score of each point, drawn independently from what the members predict; higher is better."""
        inputs = self._matrix([self._reader.read(point).features for point in points])
        predictions = np.array([inputs @ weights + intercept for weights, intercept in self._members])
        return generator.normal(predictions.mean(axis=0), predictions.std(axis=0))

    def _matrix(self, features: Sequence[Features]) -> Vector:
        """Shape (points, columns)."""
        matrix = np.zeros((len(features), len(self._columns)))
        for row, counts in zip(matrix, features, strict=True):
            for key, times in counts.items():
                if key in self._columns:
                    row[self._columns[key]] = times
        return matrix


class _Reading(NamedTuple):
    """What a point stands for."""

    features: Features
    architecture: Architecture | None


class _Reader:
    """Reads points, with the help of a space if there is one."""

    def __init__(self, space: CellSpace | None) -> None:
        self._space = space
        self._decisions = frozenset(name for name, _ in space.decisions()) if space else frozenset()
        self._read: dict[Point, _Reading] = {}
        self._fingerprints: dict[Point, str] = {}
        self._study: Study | None = None
        self._points: dict[int, Point] = {}

    def point(self, study: Study, trial: FrozenTrial) -> Point:
        """The trial's categorical decisions; remembered when it is over, because then they stay as they are."""
        if study is not self._study:
            self._study, self._points = study, {}
        if trial.number in self._points:
            return self._points[trial.number]
        decided = trial.distributions
        point = frozenset(
            item for item in trial.params.items() if isinstance(decided[item[0]], CategoricalDistribution)
        )
        if trial.state.is_finished():
            self._points[trial.number] = point
        return point

    def read(self, point: Point) -> _Reading:
        if point not in self._read:
            if len(self._read) >= READINGS:
                self._read.clear()
            self._read[point] = self._read_anew(point)
        return self._read[point]

    def first_new(self, points: Sequence[Point], known: Iterable[Point]) -> Point:
        """The first that is another graph than all that are known; the first of all if there is none."""
        if self._space is None:
            return points[0]
        seen = {self._fingerprint(point) for point in known}
        return next((point for point in points if self._fingerprint(point) not in seen), points[0])

    def _fingerprint(self, point: Point) -> str | None:
        """None for the point of a trial that has not made all its decisions yet."""
        if point not in self._fingerprints:
            if not self._decisions <= {name for name, _ in point}:
                return None
            architecture = self.read(point).architecture
            if architecture is None:
                return None
            self._fingerprints[point] = architecture.fingerprint
        return self._fingerprints[point]

    def _read_anew(self, point: Point) -> _Reading:
        # Sorted, because the order of a set differs from process to process, and that of the features matters to a fit.
        params = dict(sorted(point, key=lambda item: item[0]))
        features: Features = Counter(item for item in params.items() if item[0] not in self._decisions)
        if self._space is None:
            return _Reading(features, None)
        # Not at the top, because it brings in Ray, which who uses no space can do without.
        from search_spaces.path_encoding import count_paths

        architecture = self._space.decode({name: params[name] for name in params if name in self._decisions})
        # One cell is searched if the space is shared or its reduction cell is fixed.
        searched = (architecture.normal, architecture.reduction)[: len(self._space.cells)]
        for role, cell in enumerate(searched):
            features.update({(role, path): times for path, times in count_paths(cell).items()})
        return _Reading(features, architecture)


def _ridge(inputs: Vector, targets: Vector) -> tuple[Vector, float]:
    """Weights and intercept; solved in the smaller of the dual and the primal form."""
    centre, level = inputs.mean(axis=0), float(targets.mean())
    inputs = inputs - centre
    rows, columns = inputs.shape
    if rows < columns:
        weights = inputs.T @ np.linalg.solve(inputs @ inputs.T + RIDGE * np.eye(rows), targets - level)
    else:
        weights = np.linalg.solve(inputs.T @ inputs + RIDGE * np.eye(columns), inputs.T @ (targets - level))
    return weights, level - float(centre @ weights)


def _final_merits(study: Study, finished: list[FrozenTrial]) -> Vector:
    """The merit of each trial at the end of its training, estimated where it was pruned; -inf where it is not a number.

    Of a pruned trial's step no complete trial may have a score; then the merit stays as it is.
    """
    sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
    merits = np.array([merit(study, trial) for trial in finished])
    pruned = {place: max(trial.intermediate_values) for place, trial in enumerate(finished) if not _complete(trial)}
    gains: dict[int, float] = {}
    for step in set(pruned.values()):
        gained = [
            final - sign * trial.intermediate_values[step]
            for trial, final in zip(finished, merits, strict=True)
            if _complete(trial) and step in trial.intermediate_values
        ]
        gains[step] = float(np.median([gain for gain in gained if np.isfinite(gain)] or [0.0]))
    for place, step in pruned.items():
        merits[place] += gains[step]
    return np.nan_to_num(merits, nan=-np.inf, posinf=np.inf, neginf=-np.inf)


def _normal_scores(merits: Vector) -> Vector:
    """The quantiles of a normal distribution that belong to the ranks of the merits; equal merits share one."""
    _, places, counts = np.unique(merits, return_inverse=True, return_counts=True)
    quantiles = (np.cumsum(counts) - counts / 2) / len(merits)
    return np.array([NormalDist().inv_cdf(quantile) for quantile in quantiles.tolist()])[places]


def _random(choices: Mapping[str, Sequence[Any]], draws: random.Random) -> Iterator[dict[str, Any]]:
    while True:
        yield {name: draws.choice(options) for name, options in choices.items()}


def _every(choices: Mapping[str, Sequence[Any]], draws: random.Random) -> Iterator[dict[str, Any]]:
    """All there are, beginning at a random one."""
    shuffled = [draws.sample(options, len(options)) for options in choices.values()]
    return (dict(zip(choices, values, strict=True)) for values in itertools.product(*shuffled))


def _fresh(drafts: Iterable[dict[str, Any]], known: set[Point]) -> list[Point]:
    """The drafts as points, each once, without those that are known."""
    return [point for point in dict.fromkeys(frozenset(draft.items()) for draft in drafts) if point not in known]


def _others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """All that were begun: that run, finished or failed."""
    others = study.get_trials(deepcopy=False)
    return [other for other in others if other.number != trial.number and other.state != TrialState.WAITING]


def _complete(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE
