"""The regret of a search over time: how far its leader is below the best candidate that is known.

Knows simulations whose trials received a `Curve` as their result. Does not know samplers and schedulers.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Self

from orchestrator.simulation.answers import Answers, Curve
from orchestrator.simulation.controller import Simulation

METRIC = "val_accuracy"


@dataclass(frozen=True)
class Regret:
    """A step function of the seconds on the virtual clock.

    The leader is the candidate that has reported the most epochs, and among those the one with the highest score at
    that epoch: what a search would name if it ended now. Its regret is measured by its true final score. Before the
    first report the leader counts as the worst candidate.
    """

    seconds: tuple[float, ...]
    """When the regret changes, increasing; the first is 0."""
    values: tuple[float, ...]
    """The regret from then on, in validation accuracy. Negative if the leader is better than the best that is known."""

    @classmethod
    def of(cls, simulation: Simulation, answers: Answers) -> Self:
        """Measure the regret of a simulated search, in one pass over its events."""
        curves = {trial.trial_id: trial.rows for trial in simulation.trials}
        seconds, values = [0.0], [answers.best - answers.worst]
        leading = (0, 0.0)
        for event in simulation.events:
            if event.kind != "reported" or event.epoch < leading[0]:
                continue
            curve = curves[event.trial_id]
            assert isinstance(curve, Curve), "the search was answered by `Answers`"
            standing = (event.epoch, curve[event.epoch - 1].metrics[METRIC])
            if standing <= leading:
                continue
            leading, value = standing, answers.best - curve.final
            if event.seconds == seconds[-1]:  # of several reports at the same time, the last counts
                values[-1] = value
            elif value != values[-1]:
                seconds.append(event.seconds)
                values.append(value)
        return cls(tuple(seconds), tuple(values))

    def at(self, moment: float) -> float:
        """Return the regret at a moment, in seconds from the start (at least 0)."""
        return self.values[bisect_right(self.seconds, moment) - 1]

    def reached(self, target: float) -> float | None:
        """Return the seconds from which on the regret is at most `target` to the end of the search; None if never.

        A moment after which the leader changes to a worse candidate again does not count.
        """
        found = None
        for seconds, value in zip(reversed(self.seconds), reversed(self.values), strict=True):
            if value > target:
                break
            found = seconds
        return found
