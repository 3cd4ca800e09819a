"""When a run will have trained all its trials, by what its record says so far. A pure function of the run's state.

Schedulers stop most trials early, and the short ones end first, so that the mean time of those that have ended says
little. Counted are epochs: of the trials that trained an epoch, a part went on to the next, and these parts (a
Kaplan-Meier estimate) say how many of the budget's trials will train each epoch. What is left of these epochs is
divided among the slots; at the end slots are empty while the last trials are trained, and the parts tell for how long.

It serves schedulers that stop trials, that let them wait, and that do neither. It does not know that a sampler may run
out of proposals, nor that candidates may become larger.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from statistics import fmean as mean

from orchestrator.record import RunState, Trial

LEAST_TRIALS = 3
LEAST_PART = 0.1
"""Of the budget's trials; before so many have ended nothing is said, unless none is ever stopped early."""

ASSUMED = 9
"""So many trials count as if the usual part of them had gone on, where few have come to a milestone: the first there
go on more often than those after them."""

BUSY = 0.95
"""The part of the slots' time that is training, as long as nothing is known."""
LEAST_BUSY = 0.01
BUSY_EPOCHS = 2
"""For so many epochs a slot it counts as if that had been seen."""


def seconds_left(
    state: RunState, trials: int, epochs: int, milestones: Sequence[int] | None, at: datetime
) -> float | None:
    """Until the last of `trials` has ended; None while there is too little to go by.

    Args:
        state: of the run.
        trials: how many are to be trained.
        epochs: of a whole training.
        milestones: the epochs after which a trial may be stopped; None: after any.
        at: the present.
    """
    begun = [trial for trial in state.trials.values() if trial.attempt > 0]
    if not state.slots or not _is_enough(begun, state.slots, trials, milestones):
        return None
    trained, parts = _trained_and_parts(begun, epochs, milestones)
    running = [trial.epochs for trial in begun if _goes_on(trial)]
    to_begin = max(0, trials - len(begun))
    if not to_begin and not any(trial.status == "running" for trial in begun):
        return None
    left = to_begin * sum(parts) + sum(_chances(age, parts) for age in running)
    if any(trial.paused for trial in begun):  # of which the best will go on
        left = max(left, sum(max(0.0, trials * part - count) for part, count in zip(parts, trained, strict=True)))
    left = max(0.0, left - len(running) / 2) / state.slots  # half of each epoch that is under way is done
    epochs_left = left + _drain(min(state.slots, trials), parts) if to_begin else max(left, _longest_of(running, parts))
    # Each trial counts once: of the fast ones, more epochs are on record.
    epoch_seconds = mean(trial.curve[-1].seconds for trial in begun if trial.curve)
    return epochs_left * epoch_seconds / _busy(state, epoch_seconds, at)


def _goes_on(trial: Trial) -> bool:
    return trial.status == "running" and not trial.paused


def _is_enough(begun: Sequence[Trial], slots: int, trials: int, milestones: Sequence[int] | None) -> bool:
    if milestones is not None and not milestones:
        seen, least = sum(trial.epochs > 0 for trial in begun), max(LEAST_TRIALS, slots)
    else:
        seen = sum(trial.epochs > 0 and not _goes_on(trial) for trial in begun)
        least = max(LEAST_TRIALS, slots, math.ceil(LEAST_PART * trials))
    return seen >= max(1, min(least, trials))


def _trained_and_parts(
    begun: Sequence[Trial], epochs: int, milestones: Sequence[int] | None
) -> tuple[list[int], list[float]]:
    """For each epoch: how many trials have trained it, and what part of all will."""
    ages = Counter(min(trial.epochs, epochs) for trial in begun)
    # reached[e]: how many have trained e epochs, or more.
    reached = list(itertools.accumulate(ages[age] for age in range(epochs, -1, -1)))[::-1]
    under_way = Counter(trial.epochs for trial in begun if _goes_on(trial))
    went_on = [count + under_way[age] for age, count in enumerate(reached[1:])]
    usual = _usual(milestones or (), epochs)
    parts, part = [], 1.0
    for age in range(epochs):
        if age in usual:
            part *= (went_on[age] + ASSUMED * usual[age]) / (reached[age] + ASSUMED)
        elif reached[age]:
            part *= went_on[age] / reached[age]
        parts.append(part)
    return reached[1:], parts


def _usual(milestones: Sequence[int], epochs: int) -> dict[int, float]:
    """The part that goes on past each milestone as long as nothing is known: so many that all that is trained up to the
    next costs no more than all up to this one, as successive halving has it."""
    within = sorted(epoch for epoch in milestones if 0 < epoch < epochs)
    return {epoch: epoch / after for epoch, after in itertools.pairwise([*within, epochs])}


def _chances(age: int, parts: Sequence[float]) -> float:
    """Epochs that a trial which has had `age` has before it, on average."""
    return sum(parts[age:]) / parts[age] if age < len(parts) and parts[age] else 0.0


def _drain(slots: int, parts: Sequence[float]) -> float:
    """Epochs for which slots are empty at the end, on average: the longest less the mean of what the last trials have
    before them, each being met at a random epoch of its training."""
    tails = list(itertools.accumulate(reversed(parts)))[::-1]
    above = [tail / tails[0] for tail in tails] if tails[0] else []
    return sum(1 - (1 - chance) ** slots - chance for chance in above)


def _longest_of(ages: Sequence[int], parts: Sequence[float]) -> float:
    """Epochs that the longest of the running trials has before it, on average; `ages` are the epochs they have had."""
    longest = 0.0
    for more in range(len(parts)):
        none = 1.0
        for age in ages:
            if age + more < len(parts) and parts[age]:
                none *= 1 - parts[age + more] / parts[age]
        longest += 1 - none
    return longest


def _busy(state: RunState, epoch_seconds: float, at: datetime) -> float:
    """Part of the slots' time that is training, since the start or the last resume."""
    if state.session_started_at is None:
        return BUSY
    under_way = epoch_seconds / 2 * sum(trial.on_worker for trial in state.trials.values())
    assumed = BUSY_EPOCHS * state.slots * epoch_seconds
    slot_seconds = state.slots * max(0.0, (at - state.session_started_at).total_seconds()) + assumed
    busy = (state.session_seconds + under_way + BUSY * assumed) / slot_seconds if slot_seconds else BUSY
    return min(1.0, max(LEAST_BUSY, busy))
