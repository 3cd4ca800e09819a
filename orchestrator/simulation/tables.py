"""Presents the results of simulated searches: as a table in 80 columns, in words, and as JSON."""

from __future__ import annotations

from statistics import mean
from typing import Any

from rich import box
from rich.table import Table

from orchestrator.progress import counted
from orchestrator.significance import mean_of
from orchestrator.simulation.run import MOMENTS, Simulated, SimulateResult

SHOWN_MOMENTS = (0.5, 1.0)
"""The entries of `MOMENTS` that fit into the table."""


def simulation_table(result: SimulateResult) -> Table:
    """Tabulate one row per setup; for each number of workers, the lowest final regret comes first."""
    title = f"Regret in percentage points after a share of the time; {counted(result.seeds, 'seed')}"
    shown = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("workers", "scheduler", "sampler", *(f"{moment:.0%}" for moment in SHOWN_MOMENTS), "trials", "busy"):
        shown.add_column(name, justify="left" if name in ("scheduler", "sampler") else "right", no_wrap=True)
    for one in sorted(result.simulated, key=lambda one: (one.setup.workers, mean(seed[-1] for seed in one.regrets))):
        shown.add_row(
            str(one.setup.workers),
            one.setup.scheduler,
            one.setup.sampler,
            *(_points(one, MOMENTS.index(moment)) for moment in SHOWN_MOMENTS),
            f"{mean(one.trials):.0f}",
            f"{mean(one.busy):.0%}",
        )
    return shown


def simulation_notes(result: SimulateResult) -> str:
    """Explain the numbers of the table in lines of plain text."""
    return "\n".join(
        [
            f"record      {result.candidates} candidates, trained in full ({result.epochs} epochs)",
            f"time        of each search: {result.trainings} whole trainings, summed over the workers",
            "regret      the final accuracy of the best recorded candidate minus that of",
            "            the leader: the mean over the seeds ± half its 95 % interval.",
            "            If intervals overlap, no difference is shown",
            "answers     each proposal gets the curve of the nearest recorded candidate,",
            "            so samplers learn less than in a real search",
        ]
    )


def simulation_json(result: SimulateResult) -> dict[str, Any]:
    """Return all results as JSON."""
    return {
        "candidates": result.candidates,
        "epochs": result.epochs,
        "trainings": result.trainings,
        "seeds": result.seeds,
        "moments": list(MOMENTS),
        "simulated": [
            {
                "sampler": one.setup.sampler,
                "scheduler": one.setup.scheduler,
                "workers": one.setup.workers,
                "regrets": one.regrets,
                "trials": one.trials,
                "completed": one.completed,
                "busy": one.busy,
            }
            for one in result.simulated
        ],
    }


def _points(one: Simulated, moment: int) -> str:
    found = mean_of([seed[moment] for seed in one.regrets])
    return f"{100 * found.mean:.2f}" + ("" if found.interval is None else f" ± {100 * found.margin:.2f}")
