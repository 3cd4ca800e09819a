"""Measures how much each decision of a search matters on its own, and whether that is more than noise.

What is compared: the scores of candidates after the same number of epochs, the latest that enough of them reached. Each
candidate is compared only with candidates suggested at about the same time. A learning sampler proposes better
candidates over time and repeats the same decisions in them; over the whole search all of these would seem to matter.
(Measured on 200 trials of `evolution` where 1 decision of 50 matters: 22 others were found over the whole search, and
none with blocks of 25.)

The measure: scores are ranked within each block of trials. The share of a decision is the part of the rank variance
that lies between its choices, minus what chance gives a decision with that many choices. This is the effect size eta
squared of the Kruskal-Wallis test (Tomczak and Tomczak 2014), (H - k + 1) / (n - k): the main effect of a functional
analysis of variance. Shares of decisions can be added. p comes from scores shuffled within the blocks, with the largest
statistic of the family (Westfall and Young 1993): if nothing matters, one search in 20 finds something.

Optuna's evaluators use completed trials only, do not test for noise, and were weaker or slower on synthetic searches of
the NASNet space where 1 decision of 50 makes 30 % of the variance. With 120 trials the default, PED-ANOVA, ranks it
first in 32 % of the searches, and this module in all. With 60 trials fANOVA and the mean decrease of impurity do in
53 %, and this module in 73 %. With 1,000 trials fANOVA takes minutes, and this module 0.3 s.

Does not know how the results are presented.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from orchestrator.record import EpochDone, RunState, Trial
from orchestrator.significance import margin

MIN_TRIALS = 60
"""With fewer, even a decision that explains a third of all differences is hardly ever found among 50."""
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
    """The share that chance exceeds in one search of 20."""
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
    """The number of trials that use the operation."""
    mean: float | None
    """Their mean score; None if there are none."""
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
    """The epoch after which they were compared."""
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
    epoch, rows = _comparable(state)
    epochs = max((trial.epochs for trial in state.trials.values() if trial.status == "completed"), default=None)
    if len(rows) < MIN_TRIALS or not state.distributions:
        return Importances(len(rows), epoch, epochs, ())
    trials = [trial for trial, _ in rows]
    choices = {name: _codes([trial.params[name] for trial in trials]) for name in state.distributions}
    uses = _uses(state, trials)
    found = []
    for objective, direction in state.objectives.items():
        scores = np.array([_value(trial, row, objective) for trial, row in rows], np.float64)
        shares = _shares([*choices.values(), *(_codes(used.tolist()) for used in uses.values())], scores)
        groups, decisions = _effects(list(choices), shares[: len(choices)])
        operations = _operations(uses, shares[len(choices) :], scores)
        sign = -1 if direction == "maximize" else 1
        operations.sort(key=lambda use: math.inf if use.mean is None else sign * use.mean)
        found.append(Importance(objective, groups, decisions, tuple(operations)))
    return Importances(len(rows), epoch, epochs, tuple(found))


def _comparable(state: RunState) -> tuple[int, list[tuple[Trial, EpochDone]]]:
    """Return the latest epoch that enough trials have reached, and these trials with their results after it, in order.

    If no epoch has enough trials, it is the latest of those with the most. Duplicates add nothing and are left out.
    """
    by_epoch: dict[int, list[tuple[Trial, EpochDone]]] = {}
    for trial in [*state.imported.values(), *state.trials.values()]:
        if trial.duplicate_of is not None or not trial.params.keys() >= state.distributions.keys():
            continue
        for row in trial.curve:
            if all(math.isfinite(_value(trial, row, name)) for name in state.objectives):
                by_epoch.setdefault(row.epoch, []).append((trial, row))
    epoch = max(by_epoch, key=lambda one: (min(len(by_epoch[one]), MIN_TRIALS), one), default=0)
    return epoch, by_epoch.get(epoch, [])


def _value(trial: Trial, row: EpochDone, objective: str) -> float:
    """Return the objective after an epoch; NaN if it has no value."""
    known = trial.latency_seconds if objective == "latency_seconds" else row.metric(objective)
    value = trial.costs.get(objective, known)
    return math.nan if value is None else value


def _effects(names: Sequence[str], shares: Matrix) -> tuple[tuple[Effect, ...], tuple[Effect, ...]]:
    """Return the effects of the groups, and those of the decisions, the largest first."""
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
    return [_use(name, scores[used], others=scores[~used], p=p.get(name)) for name, used in uses.items()]


def _use(name: str, scores: Matrix, *, others: Matrix, p: float | None) -> OperationUse:
    count = len(scores)
    interval_margin = margin(float(scores.std(ddof=1)), count) if count > 1 else None
    mean = float(scores.mean()) if count else None
    return OperationUse(name, count, mean, interval_margin, float(others.mean()) if len(others) else None, p)


def _codes(values: Sequence[int | str]) -> NDArray[np.int64]:
    """Number the values; equal values get the same number."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.array([numbers[value] for value in values], np.int64)


def _shares(choices: Sequence[NDArray[np.int64]], scores: Matrix) -> Matrix:
    """Compute shares [decisions, 1 + PERMUTATIONS]: first with the true scores, then with shuffled ones.

    Args:
        choices: for each decision the choices of the trials, numbered from 0.
        scores: the scores of the trials, in the order in which they were suggested.
    """
    blocks = np.array_split(np.arange(len(scores)), max(1, len(scores) // BLOCK))
    ranks = np.empty(len(scores))
    for block in blocks:
        ranks[block] = rankdata(scores[block]) - (len(block) + 1) / 2
    total, freedom = float(ranks @ ranks), len(scores) - len(blocks)
    if total == 0:  # all scores are equal
        return np.zeros((len(choices), 1 + PERMUTATIONS))
    indicators = [np.eye(int(chosen.max()) + 1)[chosen] for chosen in choices]
    wide, sizes = np.concatenate(indicators, axis=1), [one.shape[1] for one in indicators]
    starts = np.cumsum([0, *sizes[:-1]])
    generator = np.random.default_rng(0)
    parts = []
    for first in range(0, 1 + PERMUTATIONS, BATCH):
        shuffled = np.tile(ranks, (min(BATCH, 1 + PERMUTATIONS - first), 1))
        for block in blocks:
            shuffled[:, block] = generator.permuted(shuffled[:, block], axis=1)
        if first == 0:
            shuffled[0] = ranks
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
