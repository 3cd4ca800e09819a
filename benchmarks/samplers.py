"""Compares all samplers on NAS-Bench-201, where each of 15,625 cells was trained on three data sets.

    python benchmarks/samplers.py nb201_final.parquet --cache runs/samplers

Writes `samplers.md` and `samplers.svg` beside this file. The table holds, per data set and cell, the final validation
accuracy of up to three trainings and the seconds of one training. Each evaluation reports the accuracy of one of the
trainings, drawn at random. The regret uses the mean of all trainings of a candidate. Finished runs are kept in the
cache, so an interrupted benchmark continues, and adding a sampler does not run the others again. `sampler_runs` beside
this file is such a cache. It holds the runs of `gp`, which take hours.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray
from sampler_runs import (
    CANDIDATES,
    KNOWN_IN_A_ROW,
    KNOWN_IN_ALL,
    SEEDS_COLUMNS,
    Floats,
    Run,
    Task,
    load,
    run_missing,
)

from orchestrator.samplers import SAMPLERS
from orchestrator.significance import margin

DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet16-120"}

CHECKPOINTS = (30, 50, 100, 200, 300)
"""Evaluations after which the table shows the regret."""

JUDGED_AT = 300
"""Evaluations after which samplers are compared with random search."""

SHARES_OF_TIME = (0.2, 0.5, 1.0)
"""Fractions of the shortest run's training time at which the table shows the regret at equal time."""


# Okabe and Ito's colours are safe for the colour-blind; black is for random. Dashes show lines that coincide.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#8C8C00")
DASHES = ("-", "--", ":", "-.")


class Interval(NamedTuple):
    """A mean over runs, and half the width of its 95 % interval (Student's t).

    The interval is NaN for a single run; both are NaN beyond the planned end of the runs.
    """

    mean: Floats
    half: Floats

    def __str__(self) -> str:
        return "not run" if np.isnan(self.mean) else f"{float(self.mean):.3f} ± {float(self.half):.3f}"


Runs = Mapping[str, Sequence[Run]]
"""Sampler -> its runs on one data set."""


def interval(values: Floats) -> Interval:
    """Return the interval of the mean over the first axis, the runs."""
    runs = len(values)
    if runs == 1:
        return Interval(values[0], np.full_like(values[0], np.nan))
    return Interval(values.mean(axis=0), margin(1.0, runs) * values.std(axis=0, ddof=1))


def after(runs: Sequence[Run], evaluations: Any) -> Interval:
    return interval(np.stack([run.regret_after(np.asarray(evaluations)) for run in runs]))


def tried_after(runs: Sequence[Run], evaluations: int) -> Interval:
    return interval(np.stack([run.regret_after(np.asarray(evaluations), "tried") for run in runs]))


def confirmed_after(runs: Sequence[Run], evaluations: int) -> Interval:
    if evaluations > runs[0].asked:
        return interval(np.full(len(runs), np.nan))
    return interval(np.array([run.confirmed_after(evaluations) for run in runs]))


def at(runs: Sequence[Run], seconds: Any) -> Interval:
    return interval(np.stack([run.regret_at(np.asarray(seconds)) for run in runs]))


def common_seconds(runs: Runs) -> tuple[float, float]:
    """Return the training seconds from which every run has a candidate, and up to which every whole run lasts."""
    every = [run for of_sampler in runs.values() for run in of_sampler]
    longest = max(run.asked for run in every)
    whole = [run for run in every if not run.ended_early and run.asked == longest] or every
    return max(float(run.seconds[0]) for run in every), min(float(run.seconds[-1]) for run in whole)


def better_than_random(runs: Runs, evaluations: int) -> list[str]:
    """Return the samplers whose interval lies below that of random search."""
    ends = {name: after(of_sampler, evaluations) for name, of_sampler in runs.items()}
    if "random" not in ends:
        return []
    bound = ends["random"].mean - ends["random"].half
    return [name for name, end in ends.items() if end.mean + end.half < bound]


def report(results: Mapping[str, Runs], command: str, evaluations: int) -> Iterator[str]:
    """Yield the Markdown file, line by line."""
    yield "# How good the samplers are on NAS-Bench-201\n"
    packages = ", ".join(f"{name} {version(name)}" for name in ("optuna", "numpy", "scikit-learn", "torch"))
    machine = f"{cpu()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    yield f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {packages}. Written by\n"
    yield f"```\n{command}\n```\n"
    yield (
        "Regret in percentage points of validation accuracy: the best cell's mean accuracy less that of a candidate. "
        "Mean over seeds ± half of its 95 % interval. Samplers with default options, one candidate at a time. Known "
        "proposals were evaluated before in the same run; they are answered from the record, and count neither as "
        "evaluations nor as time. Hours are the recorded training times, added up.\n"
    )
    yield (
        "Three regrets after so many evaluations. **Tried**: of the best candidate that was tried. **Named**: of the "
        "candidate that a search names without a confirmation, the one with the best score of a single training; it "
        "can grow, because this score is noisy. **Confirmed**: of the winner of a confirmation, whose trainings are "
        f"among the evaluations: the last {CANDIDATES * len(SEEDS_COLUMNS)} are reserved for it. It trains the "
        f"{CANDIDATES} best candidates again, in a race of at most {len(SEEDS_COLUMNS)} rounds. The table has one to "
        "three trainings of each cell, and its truth is their mean. So the new trainings are those of which the truth "
        "is made, one of which the search has seen: the confirmed regret is smaller here than it would be with "
        "trainings of one's own.\n"
    )
    yield "![Regret against evaluations and against training time](samplers.svg)\n"
    checkpoints = [checkpoint for checkpoint in CHECKPOINTS if checkpoint <= evaluations] or [evaluations]
    for dataset, runs in results.items():
        yield f"## {DATASETS[dataset]}\n"
        yield from regret_table(runs, checkpoints)
        yield ""
        yield from time_table(runs)
        yield ""
        yield from verdict(runs, min(JUDGED_AT, evaluations))


def regret_table(runs: Runs, checkpoints: Sequence[int]) -> Iterator[str]:
    heads = ["sampler", "seeds", "regret", *(f"after {checkpoint}" for checkpoint in checkpoints)]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for name, of_sampler in runs.items():
        for kind, measure in (("tried", tried_after), ("named", after), ("confirmed", confirmed_after)):
            cells = [name, str(len(of_sampler)), kind, *(str(measure(of_sampler, one)) for one in checkpoints)]
            yield f"| {' | '.join(cells)} |"


def time_table(runs: Runs) -> Iterator[str]:
    moments = [share * common_seconds(runs)[1] for share in SHARES_OF_TIME]
    heads = ["sampler", *(f"named, at {moment / 3600:.0f} h" for moment in moments), "known proposals a run"]
    heads += ["ask, ms: median (95th percentile)", "asks of a run, s"]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for name, of_sampler in runs.items():
        asks = np.concatenate([run.ask_seconds for run in of_sampler])
        median, late = np.quantile(asks, [0.5, 0.95]) * 1000
        cells = [name, *(str(at(of_sampler, moment)) for moment in moments)]
        cells += [f"{np.mean([run.known for run in of_sampler]):.1f}"]
        cells += [f"{median:.1f} ({late:.1f})", f"{asks.sum() / len(of_sampler):.1f}"]
        yield f"| {' | '.join(cells)} |"


def verdict(runs: Runs, evaluations: int) -> Iterator[str]:
    names = ", ".join(better_than_random(runs, evaluations)) or "none"
    yield f"Better than random after {evaluations} evaluations, with no overlap of the intervals: {names}.\n"
    for name, of_sampler in runs.items():
        asked = of_sampler[0].asked
        if asked < evaluations:
            better = "better" if name in better_than_random(runs, asked) else "not better"
            yield f"{name} was given {asked} evaluations only; after these it is {better} by this criterion.\n"
        early = [len(run.regrets) for run in of_sampler if run.ended_early]
        if early:
            yield (
                f"{len(early)} of {len(of_sampler)} runs of {name} ended after {min(early)} to {max(early)} "
                f"evaluations, with {of_sampler[0].known_in_a_row} known proposals in a row or {KNOWN_IN_ALL} in all; "
                "they count with their last regret.\n"
            )


def cpu() -> str:
    """Return the processor's name, or the machine type if it is unknown."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def draw(results: Mapping[str, Runs], path: Path, evaluations: int) -> None:
    """Draw one column per data set: named regret against evaluations above, against training time below."""
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "samplers", "font.size": 9})
    figure, axes = plt.subplots(2, len(results), figsize=(4 * len(results), 6.6), squeeze=False, sharey="col")
    for (dataset, runs), above, below in zip(results.items(), *axes, strict=True):
        counts = np.unique(np.geomspace(min(10, evaluations), evaluations, 40).astype(int))
        draw_lines(above, counts, {name: after(of_sampler, counts) for name, of_sampler in runs.items()})
        above.set(title=DATASETS[dataset], xlabel="evaluations")
        first, last = common_seconds(runs)
        moments = np.geomspace(max(first, last * counts[0] / evaluations), last, 40)
        draw_lines(below, moments / 3600, {name: at(of_sampler, moments) for name, of_sampler in runs.items()})
        below.set(xlabel="training time, hours")
    for left in axes[:, 0]:
        left.set_ylabel("regret, percentage points")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 5), frameon=False)
    figure.set_layout_engine("constrained")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    if path.suffix == ".svg":
        path.write_text(rounded(path.read_text(encoding="utf-8")), encoding="utf-8")


def rounded(svg: str) -> str:
    """Round paths to a tenth of a point: a third of the size, without a visible difference."""
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d)\d+", r"\1", path.group()), svg)


def draw_lines(axes: Axes, places: NDArray[Any], intervals: Mapping[str, Interval]) -> None:
    """Draw a mean with its band for each sampler."""
    floor = 0.5 * min(float(np.nanmin(line.mean)) for line in intervals.values())
    for name, line in intervals.items():
        colour, dash = look(name)
        axes.plot(places, line.mean, dash, color=colour, linewidth=1.4, label=name)
        low = np.maximum(line.mean - line.half, floor)  # a logarithmic axis has no zero
        axes.fill_between(places, low, line.mean + line.half, color=colour, alpha=0.15, linewidth=0)
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.grid(color="#DDDDDD", linewidth=0.4)
    axes.set_axisbelow(True)


def look(name: str) -> tuple[str, str]:
    """Return the colour and dashes of a sampler, independent of which others are drawn."""
    if name == "random":
        return "black", "-"
    place = [other for other in SAMPLERS if other != "random"].index(name)
    return COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="NAS-Bench-201's final accuracies and training times, as Parquet")
    parser.add_argument("--cache", type=Path, required=True, help="folder of finished runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of samplers.md and .svg")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS), metavar="NAME")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS), metavar="NAME")
    parser.add_argument("--evaluations", type=int, default=max(CHECKPOINTS), help="evaluations of each run")
    parser.add_argument("--seeds", type=int, default=50, help="runs of each sampler on each data set")
    parser.add_argument(
        "--seeds-of",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=COUNT",
        help="fewer seeds, for a slow sampler",
    )
    parser.add_argument(
        "--evaluations-of",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=COUNT",
        help="fewer evaluations, for a slow sampler",
    )
    parser.add_argument(
        "--known-of",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=COUNT",
        help=f"known proposals in a row that end its runs, instead of {KNOWN_IN_A_ROW}",
    )
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


def pair(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    if name not in SAMPLERS or not count.isdecimal() or int(count) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=COUNT; names: {', '.join(SAMPLERS)}")
    return name, int(count)


def parse_part(name: str, about: str) -> tuple[argparse.Namespace, str]:
    """Parse the arguments of a program that compares samplers in one more way; return them and its command line."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="NAS-Bench-201's accuracies, costs and training times, as Parquet")
    parser.add_argument("--cache", type=Path, required=True, help="folder of finished runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    words = [f"python benchmarks/{name}.py {arguments.table.name} --cache {arguments.cache.name}"]
    words += [] if arguments.datasets == list(DATASETS) else [f"--datasets {' '.join(arguments.datasets)}"]
    return arguments, " ".join([*words, f"--seeds {arguments.seeds}"])


def command(arguments: argparse.Namespace) -> str:
    """Return the command line, with file names instead of this machine's paths."""
    words = [f"python benchmarks/samplers.py {arguments.table.name} --cache {arguments.cache.name}"]
    words += [f"--evaluations {arguments.evaluations} --seeds {arguments.seeds}"]
    words += [f"--seeds-of {name}={count}" for name, count in arguments.seeds_of]
    words += [f"--evaluations-of {name}={count}" for name, count in arguments.evaluations_of]
    words += [f"--known-of {name}={count}" for name, count in arguments.known_of]
    for option, chosen, every in (
        ("samplers", arguments.samplers, SAMPLERS),
        ("datasets", arguments.datasets, DATASETS),
    ):
        words += [f"--{option} {' '.join(chosen)}"] if list(chosen) != list(every) else []
    return " ".join(words)


def main() -> None:
    """Run the missing searches, then write the table and the plot of all."""
    arguments = parse()
    seeds = {**dict.fromkeys(arguments.samplers, arguments.seeds), **dict(arguments.seeds_of)}
    evaluations = {**dict.fromkeys(arguments.samplers, arguments.evaluations), **dict(arguments.evaluations_of)}
    tasks = {
        (dataset, sampler): [
            Task(
                table=arguments.table,
                dataset=dataset,
                sampler=sampler,
                seed=seed,
                evaluations=evaluations[sampler],
                known_in_a_row=dict(arguments.known_of).get(sampler, KNOWN_IN_A_ROW),
            )
            for seed in range(seeds[sampler])
        ]
        for sampler in arguments.samplers
        for dataset in arguments.datasets
    }
    run_missing([task for of_cell in tasks.values() for task in of_cell], arguments.cache, arguments.processes)
    results = {
        dataset: {
            sampler: [load(task, arguments.cache) for task in tasks[dataset, sampler]] for sampler in arguments.samplers
        }
        for dataset in arguments.datasets
    }
    lines = report(results, command(arguments), arguments.evaluations)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "samplers.md").write_text("\n".join(lines), encoding="utf-8")
    draw(results, arguments.out / "samplers.svg", arguments.evaluations)


if __name__ == "__main__":
    main()
