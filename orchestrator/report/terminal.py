"""Presents the results of a run in the terminal: a summary, a leaderboard and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table

from orchestrator.config import OWN_LOOP
from orchestrator.progress import clock, guessing_doubt, number
from orchestrator.record import (
    PAGE,
    CandidatesCompared,
    ConfirmedCandidate,
    FollowUps,
    RecordedRun,
    RunInfo,
    RunState,
    Trial,
    now,
    score_of,
)
from orchestrator.report.changes import changes_of
from orchestrator.report.confirmation import (
    confirmation_json,
    confirmed_candidates,
    how_chosen,
    is_confirming,
    progress_of,
    range_in_words,
    standing_of,
    winner_json,
)
from orchestrator.report.follow_ups import follow_up_json, follow_up_lines, winner_lines
from orchestrator.report.running import running_progress
from orchestrator.report.score_precision import estimate_precision
from orchestrator.words import counted

COMPONENTS = ("space", "sampler", "scheduler", "trainable")
MAX_WIDTH = 80
"""Columns of the terminal."""
GAP = 2
INTERVAL = "95 % interval"
MARK = " *"
"""After the trial of a candidate that cannot be distinguished from the winner."""
OPTIONAL_COLUMNS = ("rank", "time", "macs", "parameters", "epochs", INTERVAL)
"""Columns of the leaderboard that are dropped, in this order, until it fits."""


def leaderboard(state: RunState, top: int) -> Table:
    """Tabulate the `top` best trials; columns that do not fit into 80 characters are dropped."""
    ranking, confirmed = state.ranking(), confirmed_candidates(state)
    # These have a column in any case.
    others = [name for name in state.objectives if name not in ("val_accuracy", "parameters", "macs")]
    rows = [_cells(rank, trial=trial, state=state, others=others) for rank, trial in enumerate(ranking[:top], start=1)]
    if confirmed:
        rows = [
            {**row, **_confirmed_cells(confirmed.get(trial.trial_id), state)}
            for row, trial in zip(rows, ranking, strict=False)
        ]
    means = ["mean", INTERVAL] if confirmed else []
    names = ["rank", "trial", "status", *means, "accuracy", *others, "epochs", "parameters", "macs", "time"]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) if rows else len(name) for name in names}
    for name in OPTIONAL_COLUMNS:
        if name in names and sum(widths[name] + GAP for name in names) >= MAX_WIDTH:
            names.remove(name)
    title = f"The best {min(top, len(ranking))} of {counted(len(state.trials), 'trial')}"
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for name in names:
        table.add_column(name, justify="left" if name in ("trial", "status") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[name] for name in names))
    captions = []
    if confirmed:
        doubted = any(row["trial"].endswith(MARK) for row in rows)
        meaning = "may be as good as the winner" if len(state.objectives) == 1 else "may be on the front"
        mark = f"; {MARK.strip()}: {meaning}"
        captions.append(f"mean: {score_of(state.objectives)[0]} of the new trainings{mark if doubted else ''}")
    if any(row["status"] == "pruned" for row in rows):
        captions.append("completed trials come first; pruned ones had fewer epochs")
    table.caption = "\n".join(captions) or None
    return table


def _confirmed_cells(found: ConfirmedCandidate | None, state: RunState) -> dict[str, str]:
    """The cells of a candidate of the confirmation, if the trial has one; that of one in doubt has a mark."""
    if found is None or not found.scores:
        return {"mean": "-", INTERVAL: "-"}
    score = found.scores[score_of(state.objectives)[0]]
    return {
        "trial": f"{found.trial_id}{MARK if standing_of(found, state) == 'in_doubt' else ''}",
        "mean": number(score.mean),
        INTERVAL: range_in_words(score.interval),
    }


def _cells(rank: int, *, trial: Trial, state: RunState, others: Sequence[str]) -> dict[str, str]:
    return {
        "rank": str(rank),
        "trial": trial.trial_id,
        "status": state.status_of(trial),
        "accuracy": number(trial.val_accuracy),
        "epochs": str(trial.epochs),
        "parameters": "-" if trial.parameters is None else f"{trial.parameters:,}",
        "macs": f"{(trial.macs or 0) / 1e6:,.1f} M",
        "time": clock(trial.train_seconds),
        **{name: number(trial.metric(name)) for name in others},
    }


def doubt(run: RecordedRun, state: RunState) -> str | None:
    """Return a line to print before all results if no trial is clearly better than guessing; else None."""
    found = guessing_doubt(state, run.info)
    return None if found is None else f"doubt       {found}"


def run_summary(run: RecordedRun, state: RunState) -> str:
    """Summarise the state of a run in a few lines of plain text."""
    directory = run.directory
    counts = state.counts()
    kinds = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "none yet"
    again = f"; {counted(len(state.repeats), 'new training')} for the confirmation" if state.repeats else ""
    lines = [
        f"run         {directory}",
        f"state       {_standing(run, state)}",
        f"searched by {', '.join(f'{part} {run.info.component(part)}' for part in COMPONENTS)}",
        f"trials      {kinds}{again}",
    ]
    progress = running_progress(run.info, run.standing, state, now())
    if progress is not None:
        lines.append(f"progress    {progress.words}")
    continuation = run.info.continuation(run.standing, directory.location)
    if continuation is not None and run.standing != "completed" and state.evaluation is None:
        lines.insert(2, f"continue    {continuation}")
    lines += [f"accuracy    is the {run.info.score_name}"] if run.info.score_name != "accuracy" else []
    lines += [f"changed     {text}" for text in changes_of(run.info, state)]
    if state.started_at is not None and state.ended_at is not None:
        lines.append(f"time        {clock(state.active_seconds())}")
    utilisation = state.utilisation()
    if utilisation is not None:
        slots = counted(state.slots, "slot")
        lines.append(f"workers     {utilisation:.0%} of the time of {slots} was spent on training")
    ask_seconds = state.ask_seconds()
    if ask_seconds is not None and run.info.component("sampler") != OWN_LOOP:
        lines.append(f"sampler     {ask_seconds[0]:.3f} s per proposal (median), at most {ask_seconds[1]:.3f} s")
    if state.imported:
        lines.append(f"known       {counted(len(state.imported), 'result')} imported from other runs")
    for status in ("failed", "diverged"):
        bad = [trial for trial in state.trials.values() if trial.status == status]
        if bad:
            lines.append(f"{status:<11} {counted(len(bad), 'trial')}, the first: {bad[0].trial_id}, {bad[0].error}")
    if state.evaluation is not None:
        lines.append("evaluation  of another run; its results are in evaluation.json")
    else:
        follow_ups = FollowUps.read(directory)
        lines += winner_lines(run, follow_ups, state)
        best = state.best if how_chosen(follow_ups, state) == "unconfirmed" else None
        if best is not None and next(iter(state.objectives)) == "val_accuracy":
            lines += [f"            {line}" for line in _precision(run.info, state, best)]
        lines += follow_up_lines(run, follow_ups, state)
    if len(state.objectives) > 1:
        lines += _front(state) if state.confirmed is None else _confirmed_front(state.confirmed, state)
    if directory.folder.has(PAGE):
        lines.append(f"page        {directory.folder / PAGE}")
    return "\n".join(lines)


def report_json(run: RecordedRun, state: RunState, top: int | None) -> dict[str, Any]:
    """Return the summary and the leaderboard as JSON; `top` None lists all trials."""
    follow_ups = FollowUps.read(run.directory)
    best = follow_ups.winner(state)
    return {
        "run_dir": run.directory.location,
        "state": run.standing,
        "reason": state.reason,
        **{part: run.info.component(part) for part in COMPONENTS},
        "changes": [change.model_dump(mode="json") for change in run.info.changes],
        "trials": dict(state.counts()),
        "slots": state.slots,
        "utilisation": state.utilisation(),
        "ask_seconds": state.ask_seconds(),
        "doubt": guessing_doubt(state, run.info),
        "score": run.info.score_name,
        "best": None if best is None else _trial_json(best, state),
        "winner": winner_json(run, follow_ups, state),
        "confirmation": confirmation_json(state),
        **follow_up_json(follow_ups),
        "objectives": state.objectives,
        "front": [_trial_json(trial, state) for trial in state.winning_front],
        "leaderboard": [_trial_json(trial, state) for trial in state.ranking()[:top]],
    }


def _standing(run: RecordedRun, state: RunState) -> str:
    confirming = f", confirmation: {progress_of(state)}" if is_confirming(run.standing, state) else ""
    reason = f": {state.reason}" if state.reason else ""
    return f"{run.standing.replace('_', ' ')}{reason}{confirming}"


def _confirmed_front(compared: CandidatesCompared, state: RunState) -> Iterator[str]:
    """List the candidates of a confirmation by whether they are on the front, and who was not trained again."""
    front = [one for one in compared.candidates if standing_of(one, state) == "leads"]
    yield (
        f"front       {len(front)} of {counted(len(compared.candidates), 'candidate')}, by the means and 95 % "
        "intervals of their new trainings"
    )
    yield from (f"            {one.trial_id}  {_means(one)}" for one in front)
    for one in compared.candidates:
        match standing_of(one, state):
            case "out":
                yield f"out         {one.trial_id}  {one.problem}"
            case "in_doubt":
                yield f"in doubt    {one.trial_id}  {_means(one)}; cannot be distinguished from the front"
            case "behind":
                yield f"dropped out {one.trial_id}  {_means(one)}"
    candidates = {one.trial_id for one in compared.candidates}
    for trial in state.front:
        if trial.trial_id not in candidates:
            yield f"unconfirmed {_in_search(trial, state)}; on the front of the search, not trained again"


def _means(candidate: ConfirmedCandidate) -> str:
    return ", ".join(
        f"{name} {number(score.mean)}" + ("" if score.interval is None else f" ({range_in_words(score.interval)})")
        for name, score in candidate.scores.items()
    )


def _front(state: RunState) -> list[str]:
    """List the Pareto front, sorted by the first objective."""
    first, *others = state.objectives
    rows = sorted(
        state.front, key=lambda trial: trial.metric(first) or 0, reverse=state.objectives[first] == "maximize"
    )
    head = f"front       {len(rows)} completed, not dominated by any other in {first} and {' and '.join(others)}"
    return [
        head,
        *(f"            {_in_search(trial, state)}" for trial in rows),
    ]


def _in_search(trial: Trial, state: RunState) -> str:
    return f"{trial.trial_id}  " + ", ".join(f"{name} {number(trial.metric(name))}" for name in state.objectives)


def _trial_json(trial: Trial, state: RunState) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "status": trial.status,
        "val_accuracy": trial.val_accuracy,
        "best_val_accuracy": trial.best_val_accuracy,
        "epochs": trial.epochs,
        "parameters": trial.parameters,
        "macs": trial.macs,
        "latency_seconds": trial.latency_seconds,
        "objectives": {name: trial.metric(name) for name in state.objectives},
        "metrics": trial.last_metrics,
        "train_seconds": trial.train_seconds,
        "fingerprint": trial.fingerprint,
        "architecture": trial.architecture,
    }


def _precision(info: RunInfo, state: RunState, best: Trial) -> list[str]:
    """Return the best score's standard error, and how many other trials are that close to it; empty if unknown."""
    found = estimate_precision(state, best, info)
    if found is None:
        return []
    few = {0: "no other completed trial is", 1: "1 other completed trial is"}
    others = few.get(found.within_error, f"{found.within_error} other completed trials are")
    error = f"one standard error on {info.data['validation']:,} validation {info.examples} is {found.error:.4f}"
    return [f"{error};", f"{others} that close to the best"]
