"""Predictor-guided search as an Optuna sampler, for any study of one objective.

Knows Optuna. Knows cells only through the space, if one is given: the space decodes a trial's parameters.
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

from orchestrator.samplers.history import (
    TRAININGS,
    Point,
    draw_independently,
    finished_trials,
    merit,
    new_seed,
    to_point,
)

if TYPE_CHECKING:
    from search_spaces import Architecture, CellSpace

Features = Counter[Hashable]
Vector = npt.NDArray[np.float64]

REFIT_EVERY = 10
"""Finished trials between two fits, as in the authors' code."""

MAX_COLUMNS = 256
"""Maximum number of features in a fit; those that the most trials have are kept.

A fit's time grows with the square of this number. NAS-Bench-201 has 155 paths.
"""

RIDGE = 1.0
"""Weight of the penalty on a member's coefficients; the targets have a variance of 1.

The result hardly changes between 0.3 and 3.
"""

MAX_CACHED_POINTS = 4096
"""Number of points whose features are cached. The same neighbours of the best trials recur often."""


@final
class PredictorSampler(BaseSampler):
    """Predictor-guided search (BANANAS, White et al. 2021); options: initial, ensemble, candidates, parents.

    The first `initial` trials are random. After that, an ensemble learns from all finished trials how good an
    architecture is. Each proposal mutates the `parents` best trials into `candidates` (one or two decisions are
    changed), draws a score for each from the mean and spread of the ensemble's predictions (independent Thompson
    sampling), and takes the best. So far this is the paper's algorithm. The differences:

    - The members are ridge regressions, each on a bootstrap sample, not neural networks. On NAS-Bench-201 they were as
      good as Gaussian processes and better than forests on the same features, at less cost.
    - They predict normal scores of the trials' ranks, so that a few trials that learned nothing do not dominate the
      fit.
    - The features count how often each path occurs, not only whether it does. The most frequent paths are kept (see
      `search_spaces.path_encoding`).

    With a space, the features of a trial are the paths of its searched cells. A categorical parameter that is not a
    decision of the space is one-hot, as are all of them without a space. Other parameters are drawn uniformly and are
    not features.

    A pruned trial counts with its last score plus the median gain of complete trials since that step, because a score
    after few epochs would otherwise rank below that of every complete trial. Trials without a score are skipped. The
    sampler does not propose a point that another trial has tried, is trying or failed at, nor, with a space, one with
    the same fingerprint, unless there is no other.

    The seed and the trial's number determine all random draws; those of a fit depend on the seed and the number of
    finished trials. Fits happen at fixed numbers of finished trials, so a rebuilt study continues like the original.

    Args:
        initial: number of random trials before the first fit; 10 in the authors' code.
        ensemble: number of members; 5 in the paper.
        candidates: number of mutants compared for a proposal.
        parents: number of best trials that are mutated; 1 in the authors' code.
        space: the space whose decisions are the study's parameters; None for any other study.
        seed: seed of all draws; None takes one from the operating system.

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
        # A rank needs two trials, and a spread two members.
        for name, value, minimum in (
            ("initial", initial, 2),
            ("ensemble", ensemble, 2),
            ("candidates", candidates, 1),
            ("parents", parents, 1),
        ):
            if value < minimum:
                raise ValueError(f"{name} is {value}; it must be at least {minimum}")
        self._initial = initial
        self._ensemble = ensemble
        self._candidates = candidates
        self._parents = parents
        self._seed = new_seed() if seed is None else seed
        self._encoder = _Encoder(space)
        self._fit: _Fit | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the categorical parameters of the last finished trial; before one has finished, of the first trial."""
        others = finished_trials(study)[-1:] or [other for other in _other_trials(study, trial) if other.params][:1]
        return {
            name: distribution
            for other in others
            for name, distribution in sorted(other.distributions.items())
            if isinstance(distribution, CategoricalDistribution)
        }

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose the untried candidate with the best drawn score; in the first trials, a random untried point."""
        choices = {
            name: distribution.choices
            for name, distribution in search_space.items()
            if isinstance(distribution, CategoricalDistribution)
        }
        if not choices:
            return {}
        known = {self._encoder.point(study, other) for other in _other_trials(study, trial)}
        generator = np.random.default_rng([self._seed, trial.number])
        draws = random.Random(int(generator.integers(2**63)))  # ten times as fast as NumPy for many small draws
        finished = finished_trials(study)
        can_fit = len(finished) >= self._initial
        if can_fit:
            candidates = self._mutants(study=study, finished=finished, choices=choices, draws=draws)
        else:
            candidates = _random_points(choices, draws)
        untried = _untried(itertools.islice(candidates, self._candidates), known)
        if not untried:
            # More points than are known: if an untried point exists, at least one is among them.
            points = itertools.islice(_all_points(choices, draws), len(known) + self._candidates)
            untried = _untried(points, known)[: self._candidates]
        if can_fit and untried:
            scores = self._current_fit(study, finished).draw(untried, generator)
            untried = [untried[index] for index in np.argsort(-scores, kind="stable")]
        return dict(self._encoder.first_new_graph(untried, known)) if untried else {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw uniformly: in the first trial, and for every parameter that is not categorical."""
        return draw_independently(study, trial, name=param_name, distribution=param_distribution, seed=self._seed)

    def _mutants(
        self,
        *,
        study: Study,
        finished: list[FrozenTrial],
        choices: Mapping[str, Sequence[Any]],
        draws: random.Random,
    ) -> Iterator[dict[str, Any]]:
        """Yield endless copies of the best trials with one or two decisions changed to another value."""
        best = np.argsort(-_final_merits(study, finished), kind="stable")[: self._parents]
        parents = [finished[index].params for index in best.tolist()]
        mutable = sorted(name for name, options in choices.items() if len(options) > 1)
        while True:
            parent = draws.choice(parents)
            child = {name: parent[name] if name in parent else draws.choice(choices[name]) for name in choices}
            for name in draws.sample(mutable, min(draws.randint(1, 2), len(mutable))):
                child[name] = draws.choice([choice for choice in choices[name] if choice != child[name]])
            yield child

    def _current_fit(self, study: Study, finished: list[FrozenTrial]) -> _Fit:
        """Return the fit for this number of finished trials: usually the cached one, every `REFIT_EVERY` a new one."""
        due = len(finished) - (len(finished) - self._initial) % REFIT_EVERY
        numbers = [trial.number for trial in finished[:due]]
        if self._fit is None or not self._fit.is_of(study, numbers):
            generator = np.random.default_rng([self._seed, due])
            self._fit = _Fit(
                study=study,
                finished=finished[:due],
                encoder=self._encoder,
                members=self._ensemble,
                generator=generator,
            )
        return self._fit


class _Fit:
    """The ensemble, fitted to some finished trials; a cache of what follows from the study."""

    def __init__(
        self,
        *,
        study: Study,
        finished: list[FrozenTrial],
        encoder: _Encoder,
        members: int,
        generator: np.random.Generator,
    ) -> None:
        self._study = study
        self._numbers = [trial.number for trial in finished]
        self._encoder = encoder
        features = [encoder.encode(encoder.point(study, trial)).features for trial in finished]
        frequency = Counter(key for counts in features for key in counts)
        self._columns = {key: column for column, (key, _) in enumerate(frequency.most_common(MAX_COLUMNS))}
        inputs = self._matrix(features)
        targets = _normal_scores(_final_merits(study, finished))
        # The mean of several trainings counts as often as there are trainings: it has less noise.
        rows = np.repeat(np.arange(len(finished)), [trial.user_attrs.get(TRAININGS, 1) for trial in finished])
        samples = rows[generator.integers(len(rows), size=(members, len(rows)))]
        self._members = [_ridge(inputs[sample], targets[sample]) for sample in samples]

    def is_of(self, study: Study, numbers: list[int]) -> bool:
        """Return whether this is the fit to the study's trials of these numbers."""
        return study is self._study and numbers == self._numbers

    def draw(self, points: Sequence[Point], generator: np.random.Generator) -> Vector:
        """Draw a score for each point from a normal distribution of the members' predictions; higher is better."""
        inputs = self._matrix([self._encoder.encode(point).features for point in points])
        predictions = np.array([inputs @ weights + intercept for weights, intercept in self._members])
        return generator.normal(predictions.mean(axis=0), predictions.std(axis=0))

    def _matrix(self, features: Sequence[Features]) -> Vector:
        """Return the counts as a matrix of shape (points, columns)."""
        matrix = np.zeros((len(features), len(self._columns)))
        for row, counts in zip(matrix, features, strict=True):
            for key, times in counts.items():
                if key in self._columns:
                    row[self._columns[key]] = times
        return matrix


class _Encoded(NamedTuple):
    """A point's features and, with a space, its architecture."""

    features: Features
    architecture: Architecture | None


class _Encoder:
    """Turns trials into points and points into features, with the help of a space if there is one; caches both."""

    def __init__(self, space: CellSpace | None) -> None:
        self._space = space
        self._decisions = frozenset(name for name, _ in space.decisions()) if space else frozenset()
        self._encoded: dict[Point, _Encoded] = {}
        self._fingerprints: dict[Point, str] = {}
        self._study: Study | None = None
        self._points: dict[int, Point] = {}

    def point(self, study: Study, trial: FrozenTrial) -> Point:
        """Return the trial's categorical decisions; cached once it is finished, as they no longer change."""
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

    def encode(self, point: Point) -> _Encoded:
        """Return the point's features and architecture, from the cache if it has them."""
        if point not in self._encoded:
            if len(self._encoded) >= MAX_CACHED_POINTS:
                self._encoded.clear()
            self._encoded[point] = self._encode(point)
        return self._encoded[point]

    def first_new_graph(self, points: Sequence[Point], known: Iterable[Point]) -> Point:
        """Return the first point whose graph differs from those of all known points; if there is none, the first."""
        if self._space is None:
            return points[0]
        seen = {self._fingerprint(point) for point in known}
        return next((point for point in points if self._fingerprint(point) not in seen), points[0])

    def _fingerprint(self, point: Point) -> str | None:
        """Return the architecture's fingerprint; None if the point's trial has not made all its decisions yet."""
        if point not in self._fingerprints:
            if not self._decisions <= {name for name, _ in point}:
                return None
            architecture = self.encode(point).architecture
            if architecture is None:
                return None
            self._fingerprints[point] = architecture.fingerprint
        return self._fingerprints[point]

    def _encode(self, point: Point) -> _Encoded:
        # Sorted, because a set's order differs between processes and a fit depends on the order of the features.
        params = dict(sorted(point, key=lambda item: item[0]))
        features: Features = Counter(item for item in params.items() if item[0] not in self._decisions)
        if self._space is None:
            return _Encoded(features, None)
        # Imported here because it imports Ray, which is not needed without a space.
        from search_spaces.path_encoding import count_paths

        architecture = self._space.decode({name: params[name] for name in params if name in self._decisions})
        # Only one cell is searched if the space is shared or its reduction cell is fixed.
        searched = (architecture.normal, architecture.reduction)[: len(self._space.cells)]
        for role, cell in enumerate(searched):
            features.update({(role, path): times for path, times in count_paths(cell).items()})
        return _Encoded(features, architecture)


def _ridge(inputs: Vector, targets: Vector) -> tuple[Vector, float]:
    """Fit a ridge regression and return weights and intercept; solves the smaller of the dual and the primal form."""
    centre, level = inputs.mean(axis=0), float(targets.mean())
    inputs = inputs - centre
    rows, columns = inputs.shape
    if rows < columns:
        weights = inputs.T @ np.linalg.solve(inputs @ inputs.T + RIDGE * np.eye(rows), targets - level)
    else:
        weights = np.linalg.solve(inputs.T @ inputs + RIDGE * np.eye(columns), inputs.T @ (targets - level))
    return weights, level - float(centre @ weights)


def _final_merits(study: Study, finished: list[FrozenTrial]) -> Vector:
    """Return each trial's merit at the end of its training, estimated for a pruned trial; NaN becomes -inf.

    If no complete trial has a score at a pruned trial's step, that trial's merit stays as it is.
    """
    sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
    merits = np.array([merit(study, trial) for trial in finished])
    pruned = {index: max(trial.intermediate_values) for index, trial in enumerate(finished) if not _is_complete(trial)}
    gains: dict[int, float] = {}
    for step in set(pruned.values()):
        gained = [
            final - sign * trial.intermediate_values[step]
            for trial, final in zip(finished, merits, strict=True)
            if _is_complete(trial) and step in trial.intermediate_values
        ]
        gains[step] = float(np.median([gain for gain in gained if np.isfinite(gain)] or [0.0]))
    for index, step in pruned.items():
        merits[index] += gains[step]
    return np.nan_to_num(merits, nan=-np.inf, posinf=np.inf, neginf=-np.inf)


def _normal_scores(merits: Vector) -> Vector:
    """Map the merits' ranks to quantiles of the standard normal distribution; equal merits get equal quantiles."""
    _, ranks, counts = np.unique(merits, return_inverse=True, return_counts=True)
    quantiles = (np.cumsum(counts) - counts / 2) / len(merits)
    return np.array([NormalDist().inv_cdf(quantile) for quantile in quantiles.tolist()])[ranks]


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


def _is_complete(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE
