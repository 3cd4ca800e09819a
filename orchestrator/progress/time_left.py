"""Estimates when a run will have trained all its trials. A pure function of the run's state.

Schedulers stop most trials early, and short trials end first, so the mean duration of the ended trials says little.
The estimate counts epochs instead. Of the trials that trained an epoch, a fraction continued to the next one; the
products of these fractions (a Kaplan-Meier estimate) say how many of the budget's trials will train each epoch. The
epochs that remain are divided among the slots. At the end, slots are idle while the last trials are trained; the same
fractions say for how long.

Works for schedulers that stop trials, that pause them, and that do neither. Does not know that a sampler may run out
of proposals, nor that candidates may become larger.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from statistics import fmean as mean

from orchestrator.record import RunState, Trial

MIN_TRIALS = 3
MIN_FRACTION = 0.1
"""Fraction of the budget's trials that must end before an estimate, unless no trial is ever stopped early."""

PRIOR_TRIALS = 9
"""Weight of the prior fraction at a milestone, in trials: the first trials there continue more often than others."""

PRIOR_BUSY = 0.95
"""Fraction of the slots' time that is training, before anything is known."""
MIN_BUSY = 0.01
PRIOR_EPOCHS = 2
"""Weight of `PRIOR_BUSY`, in epochs per slot."""


def seconds_left(
    state: RunState, *, trials: int, epochs: int, milestones: Sequence[int] | None, at: datetime
) -> float | None:
    """Estimate the seconds until the last of `trials` has ended; None if there is too little data.

    Args:
        state: the state of the run.
        trials: how many trials the run trains.
        epochs: the epochs of a whole training.
        milestones: the epochs after which a trial may be stopped; None: after any epoch.
        at: the current time.
    """
    begun = [trial for trial in state.trials.values() if trial.attempt > 0]
    if not state.slots or not _has_enough(begun, slots=state.slots, trials=trials, milestones=milestones):
        return None
    trained, fractions = _survival(begun, epochs, milestones)
    running = [trial.epochs for trial in begun if _is_training(trial)]
    to_begin = max(0, trials - len(begun))
    if not to_begin and not any(trial.status == "running" for trial in begun):
        return None
    left = to_begin * sum(fractions) + sum(_expected_epochs(age, fractions) for age in running)
    if any(trial.paused for trial in begun):  # the best of them will continue
        missing = (trials * fraction - count for fraction, count in zip(fractions, trained, strict=True))
        left = max(left, sum(max(0.0, epochs) for epochs in missing))
    left = max(0.0, left - len(running) / 2) / state.slots  # epochs under way are half done on average
    if to_begin:
        epochs_left = left + _expected_idle(min(state.slots, trials), fractions)
    else:
        epochs_left = max(left, _expected_longest(running, fractions))
    # One epoch per trial: fast trials have more epochs in the record.
    epoch_seconds = mean(trial.curve[-1].seconds for trial in begun if trial.curve)
    return epochs_left * epoch_seconds / _busy_fraction(state, epoch_seconds, at)


def _is_training(trial: Trial) -> bool:
    return trial.status == "running" and not trial.paused


def _has_enough(begun: Sequence[Trial], *, slots: int, trials: int, milestones: Sequence[int] | None) -> bool:
    if milestones is not None and not milestones:
        seen, minimum = sum(trial.epochs > 0 for trial in begun), max(MIN_TRIALS, slots)
    else:
        seen = sum(trial.epochs > 0 and not _is_training(trial) for trial in begun)
        minimum = max(MIN_TRIALS, slots, math.ceil(MIN_FRACTION * trials))
    return seen >= max(1, min(minimum, trials))


def _survival(begun: Sequence[Trial], epochs: int, milestones: Sequence[int] | None) -> tuple[list[int], list[float]]:
    """Return for each epoch how many trials have trained it, and the fraction of all trials that will."""
    ages = Counter(min(trial.epochs, epochs) for trial in begun)
    # reached[e]: how many trials have trained e epochs or more.
    reached = list(itertools.accumulate(ages[age] for age in range(epochs, -1, -1)))[::-1]
    under_way = Counter(trial.epochs for trial in begun if _is_training(trial))
    continued = [count + under_way[age] for age, count in enumerate(reached[1:])]
    prior = _prior_fractions(milestones or (), epochs)
    fractions, fraction = [], 1.0
    for age in range(epochs):
        if age in prior:
            fraction *= (continued[age] + PRIOR_TRIALS * prior[age]) / (reached[age] + PRIOR_TRIALS)
        elif reached[age]:
            fraction *= continued[age] / reached[age]
        fractions.append(fraction)
    return reached[1:], fractions


def _prior_fractions(milestones: Sequence[int], epochs: int) -> dict[int, float]:
    """Return the fraction assumed to continue past each milestone.

    As in successive halving: all that continue are trained, together, for no more epochs than all were up to here.
    """
    within = sorted(epoch for epoch in milestones if 0 < epoch < epochs)
    return {epoch: epoch / after for epoch, after in itertools.pairwise([*within, epochs])}


def _expected_epochs(age: int, fractions: Sequence[float]) -> float:
    """Return the mean number of epochs that remain for a trial with `age` epochs."""
    return sum(fractions[age:]) / fractions[age] if age < len(fractions) and fractions[age] else 0.0


def _expected_idle(slots: int, fractions: Sequence[float]) -> float:
    """Return the mean number of epochs for which a slot is idle at the end.

    It is the maximum less the mean of what remains for the last trials, each at a random epoch of its training.
    """
    tails = list(itertools.accumulate(reversed(fractions)))[::-1]
    above = [tail / tails[0] for tail in tails] if tails[0] else []
    return sum(1 - (1 - chance) ** slots - chance for chance in above)


def _expected_longest(ages: Sequence[int], fractions: Sequence[float]) -> float:
    """Return the mean number of epochs that remain for the longest of the running trials, which have `ages` epochs."""
    longest = 0.0
    for more in range(len(fractions)):
        none = 1.0
        for age in ages:
            if age + more < len(fractions) and fractions[age]:
                none *= 1 - fractions[age + more] / fractions[age]
        longest += 1 - none
    return longest


def _busy_fraction(state: RunState, epoch_seconds: float, at: datetime) -> float:
    """Return the fraction of the slots' time that is training, since the start or the last resume."""
    if state.session_started_at is None:
        return PRIOR_BUSY
    under_way = epoch_seconds / 2 * sum(trial.on_worker for trial in state.trials.values())
    assumed = PRIOR_EPOCHS * state.slots * epoch_seconds
    slot_seconds = state.slots * max(0.0, (at - state.session_started_at).total_seconds()) + assumed
    busy = (state.session_seconds + under_way + PRIOR_BUSY * assumed) / slot_seconds if slot_seconds else PRIOR_BUSY
    return min(1.0, max(MIN_BUSY, busy))
