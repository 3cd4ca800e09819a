"""Measures how much each decision of a search matters on its own, and whether that is more than noise.

What is compared: each two candidates by their scores after the last epoch that both had reached, so all trials count,
each as far as it was trained. (Comparing only the trials that reached a late epoch would compare survivors: a decision
that a scheduler has weeded out would seem not to matter.) A trial that diverged is worse than every other from that
epoch on. Each candidate is compared only with candidates suggested at about the same time: a learning sampler proposes
better candidates over time and repeats the same decisions in them, and over the whole search all of these would seem
to matter.

The measure: the standing of a trial in its block is the number of trials that it beats minus the number that beat it.
If all have the same number of epochs, it is the rank. The share of a decision is the part of the variance of the
standings that lies between its choices, minus what chance gives a decision with that many choices. Of ranks, this is
the effect size eta squared of the Kruskal-Wallis test (Tomczak and Tomczak 2014), (H - k + 1) / (n - k): the main
effect of a functional analysis of variance. Shares of decisions can be added. p comes from standings shuffled within
the blocks, with the largest statistic of the family (Westfall and Young 1993): if nothing matters, one search in 20
finds something.

Does not know how the results are presented.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.objectives import COSTS
from orchestrator.record import EpochDone, RunState, Trial
from orchestrator.significance import margin

MIN_TRIALS = 60
"""With fewer, hardly any decision among 50 can be distinguished from noise."""
COMPARED = ("completed", "pruned", "diverged")
"""Statuses of trials that are compared, besides those that the scheduler has paused."""
BLOCK = 25
"""The approximate number of consecutively suggested trials that are compared with each other."""
PERMUTATIONS = 999
BATCH = 111
"""Permutations that are computed together."""
SIGNIFICANCE_LEVEL = 0.05
"""An effect with a larger p is noise."""

KINDS = {"operation": "operations", "state": "inputs", "states": "inputs", "combination": "combinations"}
"""The kind of a decision, by the last part of its name."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """The effect of a decision, or of a group of decisions, on the score."""

    name: str
    """The name of the decision, or what the decisions of the group have in common."""
    share: float
    """The share of the variance between candidates; by chance it is 0 on average, and may be negative. The share of a
    group is the sum over its decisions; these are estimates, so the sum may be above 1."""
    by_chance: float
    """The share that chance exceeds in one of 20 searches."""
    p: float
    """The probability of such an effect by chance, adjusted for all effects of the family."""

    @property
    def is_noise(self) -> bool:
        """Whether chance can explain the effect."""
        return self.p > SIGNIFICANCE_LEVEL


@dataclass(frozen=True)
class OperationUse:
    """The scores of the trials that use an operation."""

    name: str
    trials: int
    """The number of trials that use the operation and have a score after `Importances.epoch`."""
    mean: float | None
    """Their mean score after that epoch; None if there are none."""
    margin: float | None
    """Half the width of the 95 % interval of the mean; None for fewer than two trials."""
    others: float | None
    """The mean score of the trials that do not use the operation; None if there are none."""
    p: float | None
    """The probability of such a difference by chance, adjusted for all operations; None if all or none use it."""

    @property
    def is_noise(self) -> bool:
        """Whether chance can explain the difference from the other trials."""
        return self.p is None or self.p > SIGNIFICANCE_LEVEL


@dataclass(frozen=True)
class Importance:
    """What matters for one objective."""

    objective: str
    groups: tuple[Effect, ...]
    """Decisions grouped by kind and by cell."""
    decisions: tuple[Effect, ...]
    """The largest share first."""
    operations: tuple[OperationUse, ...]
    """The best mean score first."""


@dataclass(frozen=True)
class Importances:
    """What matters in a search, for each objective."""

    trials: int
    """The number of trials that were compared."""
    epoch: int
    """The latest epoch that all of them reached that have not diverged; mean scores are those after it."""
    epochs: int | None
    """The epochs of a whole training; None if no trial has completed."""
    objectives: tuple[Importance, ...]
    """Empty if there are fewer than `MIN_TRIALS` trials."""


def importances(state: RunState) -> Importances | None:
    """Measure what matters in a search; the same record always gives the same result.

    Returns None for an evaluation, because no sampler chose its candidates.
    """
    if state.evaluation is not None:
        return None
    trials = _comparable(state)
    epoch = min((trial.epochs for trial in trials if not trial.diverged), default=0)
    epochs = max((trial.epochs for trial in state.trials.values() if trial.status == "completed"), default=None)
    if len(trials) < MIN_TRIALS or not state.distributions or not epoch:
        return Importances(len(trials), epoch, epochs, ())
    choices = {name: _codes([trial.params[name] for trial in trials]) for name in state.distributions}
    uses = _uses(state, trials)
    found = []
    for objective, direction in state.objectives.items():
        sign = -1 if direction == "minimize" else 1
        curves = _curves(trials, objective, sign)
        shares = _shares([*choices.values(), *(_codes(used.tolist()) for used in uses.values())], curves)
        groups, decisions = _effects(list(choices), shares[: len(choices)])
        operations = _operations(uses, shares[len(choices) :], sign * curves[:, epoch - 1])
        operations.sort(key=lambda use: math.inf if use.mean is None else -sign * use.mean)
        found.append(Importance(objective, groups, decisions, tuple(operations)))
    return Importances(len(trials), epoch, epochs, tuple(found))


def _comparable(state: RunState) -> list[Trial]:
    """Return the trials that ended with a score or are paused at one, in the order of their suggestion.

    Duplicates add nothing and are left out. A trial that failed or still trains has not been judged yet.
    """
    return [
        trial
        for trial in [*state.imported.values(), *state.trials.values()]
        if trial.curve
        and trial.duplicate_of is None
        and (trial.status in COMPARED or trial.paused)
        and trial.params.keys() >= state.distributions.keys()
    ]


def _curves(trials: Sequence[Trial], objective: str, sign: int) -> Matrix:
    """Return the objective after each epoch [trials, epochs], times `sign`.

    After an epoch in which the trial diverged, the objective is -inf, unless it is a cost or the latency. The epochs
    that a trial has not reached are NaN.
    """
    is_trained = objective not in (*COSTS, "latency_seconds")
    curves = np.full((len(trials), max(trial.epochs for trial in trials)), math.nan)
    for one, trial in zip(curves, trials, strict=True):
        for row in trial.curve:
            value = sign * _value(trial, row, objective)
            is_score = math.isfinite(value) and not (is_trained and row.diverged)
            one[row.epoch - 1 : trial.epochs] = value if is_score else -math.inf
    return curves


def _standings(curves: Matrix) -> Matrix:
    """Return half of how many of the others each trial beats minus how many beat it, after their last common epoch."""
    trials = np.arange(len(curves))
    reached = (~np.isnan(curves)).sum(axis=1)
    common = np.minimum.outer(reached, reached) - 1
    ours, others = curves[trials[:, None], common], curves[trials[None, :], common]
    return np.asarray(((ours > others).sum(axis=1) - (ours < others).sum(axis=1)) / 2)


def _value(trial: Trial, row: EpochDone, objective: str) -> float:
    """Return the objective after an epoch; NaN if it has no value."""
    known = trial.latency_seconds if objective == "latency_seconds" else row.metric(objective)
    value = trial.costs.get(objective, known)
    return math.nan if value is None else value


def _effects(names: Sequence[str], shares: Matrix) -> tuple[tuple[Effect, ...], tuple[Effect, ...]]:
    """Return the effects of the groups, and, sorted with the largest first, those of the decisions."""
    groups = _groups(names)
    members = np.array([[name in group for name in names] for group in groups.values()], np.float64)
    by_group = _family_effects(list(groups), members @ shares)
    return by_group, tuple(sorted(_family_effects(names, shares), key=lambda one: -one.share))


def _groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Group the decisions by kind, and by cell if there are several."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(KINDS.get(name.rpartition(".")[2], "others"), []).append(name)
    cells = dict.fromkeys(name.partition(".")[0] for name in names)
    if len(cells) > 1:
        groups |= {f"{cell} cell": [name for name in names if name.startswith(f"{cell}.")] for cell in cells}
    return groups


def _uses(state: RunState, trials: Sequence[Trial]) -> dict[str, NDArray[np.bool_]]:
    """Return for each operation which trials use it."""
    slots = [name for name in state.distributions if KINDS.get(name.rpartition(".")[2]) == "operations"]
    used = [{trial.params[name] for name in slots} for trial in trials]
    known = dict.fromkeys(choice for name in slots for choice in state.distributions[name]["attributes"]["choices"])
    return {name: np.array([name in operations for operations in used]) for name in known}


def _operations(uses: Mapping[str, NDArray[np.bool_]], shares: Matrix, scores: Matrix) -> list[OperationUse]:
    differing = [not used.all() and bool(used.any()) for used in uses.values()]
    names = [name for name, differs in zip(uses, differing, strict=True) if differs]
    p = {effect.name: effect.p for effect in _family_effects(names, shares[differing])}
    known = np.isfinite(scores)
    return [
        _use(name, scores[used & known], others=scores[~used & known], p=p.get(name)) for name, used in uses.items()
    ]


def _use(name: str, scores: Matrix, *, others: Matrix, p: float | None) -> OperationUse:
    count = len(scores)
    interval_margin = margin(float(scores.std(ddof=1)), count) if count > 1 else None
    mean = float(scores.mean()) if count else None
    return OperationUse(name, count, mean, interval_margin, float(others.mean()) if len(others) else None, p)


def _codes(values: Sequence[int | str]) -> NDArray[np.int64]:
    """Number the values; equal values get the same number."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.array([numbers[value] for value in values], np.int64)


def _shares(choices: Sequence[NDArray[np.int64]], curves: Matrix) -> Matrix:
    """Compute shares [decisions, 1 + PERMUTATIONS]: first with the true standings, then with shuffled ones.

    Args:
        choices: for each decision the choices of the trials, numbered from 0.
        curves: the scores of the trials by epoch, higher is better, in the order in which they were suggested.
    """
    blocks = np.array_split(np.arange(len(curves)), max(1, len(curves) // BLOCK))
    standings = np.concatenate([_standings(curves[block]) for block in blocks])
    total, freedom = float(standings @ standings), len(curves) - len(blocks)
    if total == 0:  # all scores are equal
        return np.zeros((len(choices), 1 + PERMUTATIONS))
    indicators = [np.eye(int(chosen.max()) + 1)[chosen] for chosen in choices]
    wide, sizes = np.concatenate(indicators, axis=1), [one.shape[1] for one in indicators]
    starts = np.cumsum([0, *sizes[:-1]])
    generator = np.random.default_rng(0)
    parts = []
    for first in range(0, 1 + PERMUTATIONS, BATCH):
        shuffled = np.tile(standings, (min(BATCH, 1 + PERMUTATIONS - first), 1))
        for block in blocks:
            shuffled[:, block] = generator.permuted(shuffled[:, block], axis=1)
        if first == 0:
            shuffled[0] = standings
        between = (shuffled @ wide) ** 2 / wide.sum(axis=0)
        parts.append(np.add.reduceat(between, starts, axis=1).T / total)
    explained = np.concatenate(parts, axis=1)
    spent = np.array(sizes)[:, None] - 1
    return np.asarray(1 - (1 - explained) * freedom / np.maximum(freedom - spent, 1))


def _family_effects(names: Sequence[str], shares: Matrix) -> tuple[Effect, ...]:
    """Compute the effects of one family; their p values are adjusted jointly. `shares` come from `_shares`."""
    if not names:
        return ()
    spread = shares.std(axis=1, keepdims=True)
    scaled = (shares - shares.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    largest = scaled.max(axis=0)
    # The true order counts as one of the permutations. Values that differ only by rounding are ties.
    p = (largest[None, :] >= scaled[:, :1] - 1e-9).mean(axis=1)
    by_chance = np.quantile(shares, 1 - SIGNIFICANCE_LEVEL, axis=1)
    values = zip(names, shares[:, 0].tolist(), by_chance.tolist(), p.tolist(), strict=True)
    return tuple(Effect(name, share, chance, one) for name, share, chance, one in values)
