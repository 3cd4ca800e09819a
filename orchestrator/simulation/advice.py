"""What the simulated searches say: how much sooner each setup reaches the target than random search without stopping.

The setup that is recommended was chosen by the same searches. Therefore the intervals of all setups with a number of
workers hold at once (Bonferroni's correction), and with them that of whichever is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from orchestrator.simulation.run import Simulated, SimulateResult
from orchestrator.simulation.speed_up import SpeedUp, speed_up
from orchestrator.words import counted, join_words


@dataclass(frozen=True)
class Compared:
    """A setup beside random search without stopping, with the same number of workers."""

    simulated: Simulated
    speed_up: SpeedUp
    """How many times sooner it reaches the target."""


@dataclass(frozen=True)
class Advice:
    """What the searches with a number of workers say."""

    workers: int
    setups: list[Compared]
    """All but the reference, by the time to the target, the shortest first."""
    equals: list[Compared]
    """Those of them that cannot be distinguished from the first."""
    sentence: str


def advise(result: SimulateResult) -> list[Advice]:
    """Compare the setups for each number of workers."""
    return [_advice(found, result) for found in result.by_workers().values()]


def _advice(found: Sequence[Simulated], result: SimulateResult) -> Advice:
    reference, *others = found
    workers, limit, intervals = reference.workers, reference.seconds, max(1, len(others))
    times = {one.setup: one.reached(result.target) for one in found}

    def ratio(one: Simulated, other: Simulated) -> SpeedUp:
        return speed_up(times[one.setup], times[other.setup], limit=limit, intervals=intervals)

    def rank(one: Compared) -> Any:
        return one.speed_up.at_least, one.speed_up.interval, -fmean(one.simulated.final_regrets)

    compared = sorted((Compared(one, ratio(one, reference)) for one in others), key=rank, reverse=True)
    equals = [one for one in compared[1:] if ratio(compared[0].simulated, one.simulated).is_chance]
    return Advice(workers, compared, equals, _sentence(compared, equals, workers=workers, result=result))


def _sentence(compared: Sequence[Compared], equals: Sequence[Compared], *, workers: int, result: SimulateResult) -> str:
    where = f"On {counted(workers, 'worker')}"
    target = f"within {points(result.target)} points of the best recorded candidate"
    if not compared:
        return f"{where} nothing was compared with random search without stopping."
    first = compared[0]
    if first.speed_up.interval[0] > 1:
        names = [str(one.simulated.setup) for one in equals]
        alike = f" {join_words(names)} cannot be distinguished from it." if names else ""
        return (
            f"{where} take {first.simulated.setup}: it comes {target} {_ratio_in_words(first.speed_up)} sooner than "
            f"random search without stopping.{alike}"
        )
    reached = sum(time is not None for time in first.simulated.reached(result.target))
    hint = "more --seeds" if 2 * reached > result.seeds else "a larger --target, more --trainings or more --seeds"
    sooner = f", {_ratio_in_words(first.speed_up)} sooner" if first.speed_up.is_bounded else ""
    slower = [str(one.simulated.setup) for one in compared if one.speed_up.interval[1] < 1]
    return (
        f"{where} the data cannot tell that any setting is faster than random search without stopping: the best of "
        f"the other settings, {first.simulated.setup}, comes {target} with {reached} of {counted(result.seeds, 'seed')}"
        f"{sooner}. Try {hint}.{f' {join_words(slower)}: slower.' if slower else ''}"
    )


def _ratio_in_words(found: SpeedUp) -> str:
    """Format a ratio with its interval: `3.2 times (2.1 to 4.0)`."""
    return f"{found.estimate_in_words} times ({found.interval_in_words})"


def points(regret: float) -> str:
    """Format a regret in percentage points, without needless zeros."""
    return f"{100 * regret:.6g}"
