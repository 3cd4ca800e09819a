"""Presents the results of simulated searches: as tables in 80 columns, in words, and as JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.table import Table

from orchestrator.significance import mean_of
from orchestrator.simulation.advice import Advice, Compared, advise, points
from orchestrator.simulation.run import Simulated, SimulateResult
from orchestrator.simulation.speed_up import SpeedUp, median_interval, median_time
from orchestrator.words import counted

MOMENTS = (0.1, 0.25, 0.5, 1.0)
"""Fractions of the time at which the regret is told."""

UNITS = (("h", 7200.0, 3600.0), ("min", 120.0, 60.0), ("s", 0.0, 1.0))
"""Units of time: name, the shortest search that is told in it, and its seconds."""


def simulation_tables(result: SimulateResult) -> Iterator[Table]:
    """Tabulate the setups for each number of workers: random search first, then the soonest to the target."""
    for (workers, found), advice in zip(result.by_workers().items(), advise(result), strict=True):
        reference = found[0]
        unit, _, seconds = next(unit for unit in UNITS if reference.seconds >= unit[1])
        shown = Table(
            title=f"{counted(workers, 'worker')}; each search lasts {_significant(reference.seconds / seconds)} {unit}",
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        shown.add_column("setup", overflow="fold")
        for name in ("regret", "reached", f"time ({unit})", "times sooner"):
            shown.add_column(name, justify="right", no_wrap=True)
        rows = [(reference, ""), *((one.simulated, _ratio(one.speed_up)) for one in advice.setups)]
        for one, sooner in rows:
            reached = one.reached(result.target)
            shown.add_row(
                str(one.setup),
                _regret(one),
                f"{sum(time is not None for time in reached)}/{len(reached)}",
                _time(reached, seconds),
                sooner,
            )
        yield shown


def simulation_notes(result: SimulateResult) -> str:
    """Explain the numbers of the tables in lines of plain text, with the advice at the end."""
    return "\n".join(
        [
            f"record      {result.candidates} candidates, trained in full ({result.epochs} epochs)",
            f"time        of each search: {result.trainings} whole trainings, summed over the workers",
            "regret      the final accuracy of the best recorded candidate minus that of",
            f"            the leader at the end, in points: the mean of {counted(result.seeds, 'seed')}",
            "            ± half its 95 % interval",
            f"reached     how many searches came within {points(result.target)} points of the best and",
            "            stayed there; time: the median until then (its 95 % interval)",
            "sooner      the ratio of these times to those of random search without",
            "            stopping (its 95 % interval; all of a table hold at once)",
            *textwrap.wrap(result.answers, 79, initial_indent="answers     ", subsequent_indent=" " * 12),
        ]
    )


def simulation_json(result: SimulateResult) -> dict[str, Any]:
    """Return all results as JSON: times in seconds, regrets in validation accuracy (0..1)."""
    advice = {one.workers: one for one in advise(result)}
    return {
        "candidates": result.candidates,
        "epochs": result.epochs,
        "best": result.best,
        "answers": result.answers,
        "trainings": result.trainings,
        "seeds": result.seeds,
        "target": result.target,
        "moments": list(MOMENTS),
        "simulated": [_simulated_json(one, advice[one.workers], result.target) for one in result.simulated],
        "advice": [
            {
                "workers": one.workers,
                "setups": [str(compared.simulated.setup) for compared in one.setups],
                "equals_of_first": [str(compared.simulated.setup) for compared in one.equals],
                "sentence": one.sentence,
            }
            for one in advice.values()
        ],
    }


def _simulated_json(one: Simulated, advice: Advice, target: float) -> dict[str, Any]:
    compared: Compared | None = next((found for found in advice.setups if found.simulated is one), None)
    reached = one.reached(target)
    return {
        "sampler": str(one.setup.sampler),
        "scheduler": str(one.setup.scheduler),
        "workers": one.workers,
        "seconds": one.seconds,
        "regrets": [[outcome.regret.at(moment * one.seconds) for moment in MOMENTS] for outcome in one.outcomes],
        "steps": [[list(outcome.regret.seconds), list(outcome.regret.values)] for outcome in one.outcomes],
        "reached": reached,
        "median": median_time(reached),
        "median_interval": _finite(median_interval(reached)),
        "speed_up": None
        if compared is None
        else {
            "at_least": compared.speed_up.at_least,
            "is_exact": compared.speed_up.is_exact,
            "interval": _finite(compared.speed_up.interval),
        },
        "trials": [outcome.trials for outcome in one.outcomes],
        "completed": [outcome.completed for outcome in one.outcomes],
        "busy": [outcome.busy for outcome in one.outcomes],
    }


def _finite(interval: tuple[float, float] | None) -> list[float | None] | None:
    """JSON has no infinity: None where nothing bounds the interval."""
    return None if interval is None else [None if math.isinf(end) else end for end in interval]


def _regret(one: Simulated) -> str:
    found = mean_of(one.final_regrets)
    return f"{100 * found.mean:.2f}" + ("" if found.interval is None else f" ± {100 * found.margin:.2f}")


def _time(reached: list[float | None], unit: float) -> str:
    found, interval = median_time(reached), median_interval(reached)
    if found is None:
        return "-"
    if interval is None:
        return _significant(found / unit)
    low, high = interval
    bounds = (
        f"{_significant(low / unit)}-{_significant(high / unit)}"
        if math.isfinite(high)
        else f"from {_significant(low / unit)}"
    )
    return f"{_significant(found / unit)} ({bounds})"


def _ratio(found: SpeedUp) -> str:
    if not found.is_bounded:
        return "-"
    low, high = found.interval
    bounds = f"from {low:.1f}" if math.isinf(high) else f"{low:.1f}-{high:.1f}"
    return f"{'' if found.is_exact else '> '}{found.at_least:.1f} ({bounds})"


def _significant(value: float) -> str:
    """Two digits, and all before the decimal point."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
