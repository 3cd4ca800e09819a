"""Draws the regret of simulated searches over time, with matplotlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.report import write_picture
from orchestrator.significance import mean_of
from orchestrator.simulation.advice import points
from orchestrator.simulation.run import Simulated, SimulateResult
from orchestrator.words import counted

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#332288")
"""From Okabe and Ito (2008) and Tol (2021): colour-blind readers can distinguish them too."""
REFERENCE_COLOUR = "#8a929c"

MOMENTS = 200
"""Moments at which the mean is drawn."""


def draw_regrets(result: SimulateResult, path: Path) -> None:
    """Draw one plot for each number of workers into an SVG, PNG or PDF file.

    Raises:
        InputError: the file cannot be written.
    """
    write_picture(path, lambda: _figure(result))


def _figure(result: SimulateResult) -> Figure:
    by_workers = result.by_workers()
    drawing = Figure(figsize=(8, 3.6 * len(by_workers)), layout="constrained")
    for axes, (workers, found) in zip(np.ravel(drawing.subplots(len(by_workers))), by_workers.items(), strict=True):
        _paint(axes, found, result)
        axes.set_title(f"{counted(workers, 'worker')}, mean of {counted(result.seeds, 'seed')} with its 95 % interval")
    return drawing


def _paint(axes: Axes, found: list[Simulated], result: SimulateResult) -> None:
    unit, seconds = ("h", 3600.0) if found[0].seconds >= 7200 else ("min", 60.0)
    for place, one in enumerate(found):
        colour = REFERENCE_COLOUR if place == 0 else COLOURS[(place - 1) % len(COLOURS)]
        # A dashed line tells the eighth setup from the first.
        style = "-" if place <= len(COLOURS) else "--"
        moments = np.linspace(0, one.seconds, MOMENTS + 1)[1:]
        means = [mean_of([outcome.regret.at(float(moment)) for outcome in one.outcomes]) for moment in moments]
        centres = 100 * np.array([mean.mean for mean in means])
        axes.plot(moments / seconds, centres, style, color=colour, label=str(one.setup), drawstyle="steps-post")
        intervals = 100 * np.array([mean.interval or (mean.mean, mean.mean) for mean in means])
        low, high = intervals.T
        axes.fill_between(moments / seconds, low, high, color=colour, alpha=0.15, linewidth=0, step="post")
    axes.axhline(
        100 * result.target, color="black", linewidth=0.8, linestyle=":", label=f"{points(result.target)} points"
    )
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, found[0].seconds / seconds)
    axes.set_xlabel(f"time ({unit})")
    axes.set_ylabel("regret in percentage points")
    axes.legend(fontsize="small", frameon=False)
