"""Which decisions of a search mattered: how far each, alone, tells good candidates from bad, and whether that is noise.

What is compared: candidates after the same number of epochs, the latest that enough of them had, each only with those
that were suggested at about the same time. A sampler that learns proposes better candidates as it goes on, with ever
the same decisions in them; over the whole search every one of these would look as if it mattered. (Measured on 200
trials of `evolution` where one decision of 50 matters: 22 others were found then, and none with blocks of 25.)

The measure: ranks are taken within each block of trials, and the share of their variance that lies between a decision's
choices, less what chance gives a decision of so many choices: the effect size eta squared of Kruskal and Wallis' test
(Tomczak and Tomczak 2014), (H - k + 1) / (n - k), that is the main effect of a functional analysis of variance. Shares
of decisions may be added. p compares with scores shuffled within the blocks, by the largest statistic of all that are
told together (Westfall and Young 1993), so that one search in twenty finds something where there is nothing.

Optuna's evaluators see completed trials only and say nothing of noise, and were weaker or slower on made-up searches of
the NASNet space where one decision of 50 makes 30 % of the variance: with 120 trials the default, PED-ANOVA, ranks it
first in 32 % of them and this in all; with 60, fANOVA and the mean decrease of impurity do in 53 % and this in 73 %.
With 1,000 trials fANOVA takes minutes, this 0.3 s.

Does not know how it is shown.
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

FEWEST_TRIALS = 60
"""With fewer, even a decision that makes a third of all differences is hardly ever found among 50."""
BLOCK = 25
"""About so many trials, suggested one after another, are compared with each other."""
PERMUTATIONS = 999
AT_ONCE = 111
SIGNIFICANT = 0.05
"""What has a larger p is not more than noise."""

KINDS = {"operation": "operations", "state": "inputs", "states": "inputs", "combination": "combinations"}
"""What a decision is about, by the last part of its name."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """Of a decision or a group of them.

    Args:
        name: of the decision, or what the group has in common.
        share: of the variance between candidates; by chance it is 0 on average, and may be below it. That of a group is
            the sum of its decisions' shares; these are estimates, so the sum may be above 1.
        by_chance: the share that chance exceeds in one search of twenty.
        p: of a share so large by chance, for any of those that are told together.
    """

    name: str
    share: float
    by_chance: float
    p: float

    @property
    def is_noise(self) -> bool:
        return self.p > SIGNIFICANT


@dataclass(frozen=True)
class OperationUse:
    """How candidates scored that use an operation.

    Args:
        name: of the operation.
        trials: how many use it.
        mean: of their scores; None where there are none.
        margin: of the 95 % interval of the mean, to either side; None for fewer than two.
        others: mean score of the trials that do not use it; None where there are none.
        p: of such a difference by chance, for any of the operations; None where nothing differs.
    """

    name: str
    trials: int
    mean: float | None
    margin: float | None
    others: float | None
    p: float | None

    @property
    def is_noise(self) -> bool:
        return self.p is None or self.p > SIGNIFICANT


@dataclass(frozen=True)
class Importance:
    """For one objective: groups by what decisions are about and by cell, decisions by their share, operations by the
    mean of their scores."""

    objective: str
    groups: tuple[Effect, ...]
    decisions: tuple[Effect, ...]
    operations: tuple[OperationUse, ...]


@dataclass(frozen=True)
class Importances:
    """For every objective; none where there are too few trials.

    Args:
        trials: how many were compared.
        epoch: after which.
        epochs: of the whole training; None if no trial had it.
    """

    trials: int
    epoch: int
    epochs: int | None
    objectives: tuple[Importance, ...]


def importances(state: RunState) -> Importances | None:
    """What mattered in a search; the same record gives the same. None for an evaluation, whose candidates nobody
    sampled."""
    if state.evaluation is not None:
        return None
    epoch, rows = _comparable(state)
    epochs = max((trial.epochs for trial in state.trials.values() if trial.status == "completed"), default=None)
    if len(rows) < FEWEST_TRIALS or not state.distributions:
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
    """The latest epoch that enough trials were trained for, and these with what they were then, in their order; if none
    had enough, that of the most. An answered duplicate adds nothing, and is left out."""
    by_epoch: dict[int, list[tuple[Trial, EpochDone]]] = {}
    for trial in [*state.imported.values(), *state.trials.values()]:
        if trial.duplicate_of is not None or not trial.params.keys() >= state.distributions.keys():
            continue
        for row in trial.curve:
            if all(math.isfinite(_value(trial, row, name)) for name in state.objectives):
                by_epoch.setdefault(row.epoch, []).append((trial, row))
    epoch = max(by_epoch, key=lambda one: (min(len(by_epoch[one]), FEWEST_TRIALS), one), default=0)
    return epoch, by_epoch.get(epoch, [])


def _value(trial: Trial, row: EpochDone, objective: str) -> float:
    """The objective as it was known after that epoch; NaN if it was not."""
    known = trial.latency_seconds if objective == "latency_seconds" else row.metric(objective)
    value = trial.costs.get(objective, known)
    return math.nan if value is None else value


def _effects(names: Sequence[str], shares: Matrix) -> tuple[tuple[Effect, ...], tuple[Effect, ...]]:
    """Of the groups, and of the decisions, the largest first."""
    groups = _groups(names)
    members = np.array([[name in group for name in names] for group in groups.values()], np.float64)
    by_group = _told(list(groups), members @ shares)
    return by_group, tuple(sorted(_told(names, shares), key=lambda one: -one.share))


def _groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Decisions by what they are about, and by cell where there are several."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(KINDS.get(name.rpartition(".")[2], "others"), []).append(name)
    cells = dict.fromkeys(name.partition(".")[0] for name in names)
    if len(cells) > 1:
        groups |= {f"{cell} cell": [name for name in names if name.startswith(f"{cell}.")] for cell in cells}
    return groups


def _uses(state: RunState, trials: Sequence[Trial]) -> dict[str, NDArray[np.bool_]]:
    """Of every operation, which of the trials use it."""
    slots = [name for name in state.distributions if KINDS.get(name.rpartition(".")[2]) == "operations"]
    used = [{trial.params[name] for name in slots} for trial in trials]
    known = dict.fromkeys(choice for name in slots for choice in state.distributions[name]["attributes"]["choices"])
    return {name: np.array([name in one for one in used]) for name in known}


def _operations(uses: Mapping[str, NDArray[np.bool_]], shares: Matrix, scores: Matrix) -> list[OperationUse]:
    differing = [not used.all() and bool(used.any()) for used in uses.values()]
    names = [name for name, differs in zip(uses, differing, strict=True) if differs]
    p = {effect.name: effect.p for effect in _told(names, shares[differing])}
    return [_use(name, scores[used], scores[~used], p.get(name)) for name, used in uses.items()]


def _use(name: str, scores: Matrix, others: Matrix, p: float | None) -> OperationUse:
    count = len(scores)
    reach = margin(float(scores.std(ddof=1)), count) if count > 1 else None
    mean = float(scores.mean()) if count else None
    return OperationUse(name, count, mean, reach, float(others.mean()) if len(others) else None, p)


def _codes(values: Sequence[int | str]) -> NDArray[np.int64]:
    """A number for each value: the same for the same."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.array([numbers[value] for value in values], np.int64)


def _shares(choices: Sequence[NDArray[np.int64]], scores: Matrix) -> Matrix:
    """The shares of decisions [decisions, 1 + PERMUTATIONS]: the true ones, then those with shuffled scores.

    Args:
        choices: of each decision: what the trials chose, as numbers from 0 on.
        scores: of the trials, in the order in which they were suggested.
    """
    blocks = np.array_split(np.arange(len(scores)), max(1, len(scores) // BLOCK))
    ranks = np.empty(len(scores))
    for block in blocks:
        ranks[block] = rankdata(scores[block]) - (len(block) + 1) / 2
    total, freedom = float(ranks @ ranks), len(scores) - len(blocks)
    if total == 0:  # all are level
        return np.zeros((len(choices), 1 + PERMUTATIONS))
    indicators = [np.eye(int(chosen.max()) + 1)[chosen] for chosen in choices]
    wide, sizes = np.concatenate(indicators, axis=1), [one.shape[1] for one in indicators]
    starts = np.cumsum([0, *sizes[:-1]])
    generator = np.random.default_rng(0)
    parts = []
    for first in range(0, 1 + PERMUTATIONS, AT_ONCE):
        shuffled = np.tile(ranks, (min(AT_ONCE, 1 + PERMUTATIONS - first), 1))
        for block in blocks:
            shuffled[:, block] = generator.permuted(shuffled[:, block], axis=1)
        if first == 0:
            shuffled[0] = ranks
        between = (shuffled @ wide) ** 2 / wide.sum(axis=0)
        parts.append(np.add.reduceat(between, starts, axis=1).T / total)
    explained = np.concatenate(parts, axis=1)
    spent = np.array(sizes)[:, None] - 1
    return np.asarray(1 - (1 - explained) * freedom / np.maximum(freedom - spent, 1))


def _told(names: Sequence[str], shares: Matrix) -> tuple[Effect, ...]:
    """The effects of what is told together; `shares` as `_shares` gives them."""
    if not names:
        return ()
    spread = shares.std(axis=1, keepdims=True)
    standing = (shares - shares.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    largest = standing.max(axis=0)
    # The true scores are one of the orders that chance gives. A tie in all but rounding is a tie.
    p = (largest[None, :] >= standing[:, :1] - 1e-9).mean(axis=1)
    by_chance = np.quantile(shares, 1 - SIGNIFICANT, axis=1)
    values = zip(names, shares[:, 0].tolist(), by_chance.tolist(), p.tolist(), strict=True)
    return tuple(Effect(name, share, chance, one) for name, share, chance, one in values)
