"""What a run came to, in plain words: how it stands, who won and whether that is more than noise, what it cost."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.progress import clock, number, scores
from orchestrator.record import ENDED, Difference, Evaluation, RunState, Trial, exhaustion
from orchestrator.report.page.plot import named
from orchestrator.report.page.record import PageRecord
from orchestrator.report.score_precision import estimate_precision

FULL_REPEATS, FULL_FILTERS = 6, 32
"""N and F of the papers' networks for CIFAR-10 (Zoph et al. 2018, section 4.1)."""

STANDINGS = {
    "running": "The search is still running",
    "died": "The search died: its process is gone without having ended it",
    "interrupted": "The search was interrupted",
    "failed": "The search was ended by an error",
    "completed": "The search has ended: its budget of trials is spent",
    "exhausted": "The search has ended",
    "out_of_time": "The search has ended: its hours were over",
}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """
    Args:
        standing: how the run stands, a sentence or two.
        verdict: who won, and whether that is more than noise; sentences.
        tested: whether an evaluation has ended, so that the verdict is more than a ranking.
        winner: a trial's id; None before one has completed.
        facts: what it cost, by what it is called.
        full_size: what the command `retrain` does, in words.
        evaluate, retrain, resume: commands to go on with; None where there is nothing to do it with.
    """

    standing: str
    verdict: Sequence[str]
    tested: bool
    winner: str | None
    facts: dict[str, str]
    full_size: str
    evaluate: str | None
    retrain: str | None
    resume: str | None


def summary_of(record: PageRecord) -> Summary:
    state, evaluation = record.state, record.evaluation
    winner = winner_of(record)
    ended = record.standing in ENDED
    tested = evaluation is not None and evaluation.finished and evaluation.winner is not None
    run = shlex.quote(record.location)
    return Summary(
        standing=_standing(record),
        verdict=_verdict(record, winner),
        tested=tested,
        winner=None if winner is None else winner.trial_id,
        facts=_facts(record),
        full_size=_full_size(record),
        evaluate=f"cellscout evaluate {run}" if ended and not tested and state.best is not None else None,
        retrain=None if winner is None else retrain_command(record, winner),
        resume=None if ended or record.standing == "running" else f"cellscout resume {run}",
    )


def winner_of(record: PageRecord) -> Trial | None:
    """The winner of the evaluation where it has ended, or else the best of the search."""
    evaluation, state = record.evaluation, record.state
    if evaluation is not None and evaluation.finished and evaluation.winner in state.trials:
        return state.trials[evaluation.winner]
    return state.best


def retrain_command(record: PageRecord, trial: Trial) -> str | None:
    """What trains the trial's architecture at full size, wherever the data are found; None if nothing can yet."""
    if not record.retrainable:
        return None
    repeats, filters = _full(record)
    words = ["cellscout", "retrain", record.location]
    best = record.state.best
    if best is None or trial.trial_id != best.trial_id:
        words += ["--architecture", f"{record.location}#{trial.trial_id}"]
    return shlex.join([*words, "--repeats", str(repeats), "--filters", str(filters)])


def _full(record: PageRecord) -> tuple[int, int]:
    """N and F of the network at full size."""
    network = record.info.config.get("network", {})
    return max(FULL_REPEATS, network.get("repeats", 0)), max(FULL_FILTERS, network.get("filters", 0))


def _full_size(record: PageRecord) -> str:
    repeats, filters = _full(record)
    network = record.info.config.get("network", {})
    epochs = record.info.config.get("training", {}).get("epochs", "its")
    tested = any(one.accuracy is not None for one in record.retrained.values())
    return (
        f"To train the winner at full size (N = {repeats} and F = {filters}; the search had "
        f"{network.get('repeats', '?')} and {network.get('filters', '?')}), from scratch, on the training and "
        f"validation images together, for the search's {epochs} epochs or by a paper's recipe "
        "(cellscout list presets; --preset NAME), and then to test it once"
        f"{'' if tested else '; nobody has looked at the test images yet'}:"
    )


def _standing(record: PageRecord) -> str:
    state, budget = record.state, record.info.config.get("budget", {}).get("trials")
    counts = state.counts()
    kinds = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no trial yet"
    of = f" of {budget:,}" if budget else ""
    trained = sum(trial.attempt > 0 for trial in state.trials.values())
    why = f": {exhaustion(state)}" if record.standing == "exhausted" else ""
    stood = f"{STANDINGS.get(record.standing, record.standing)}{why}. {trained:,}{of} trainings were begun ({kinds})."
    if not record.breaks:
        return stood
    times = "once" if len(record.breaks) == 1 else f"{len(record.breaks)} times"
    away = clock(state.away_seconds)
    return f"{stood} It was stopped and resumed {times}; the {away} in between count in no time below."


def _verdict(record: PageRecord, winner: Trial | None) -> list[str]:
    evaluation, state = record.evaluation, record.state
    if winner is None:
        return ["No trial has completed its training, so there is nothing to call the best yet."]
    if evaluation is not None and evaluation.finished and evaluation.winner is not None:
        return _evaluated(evaluation)
    sentences = [
        f"Trial {winner.trial_id} leads after its whole training of {winner.epochs} epochs: {scores(winner, state)}"
        f"{_parenthesis(state)}."
    ]
    if len(state.objectives) > 1:
        sentences.append(
            f"The first objective, {named(next(iter(state.objectives)))}, decides that; the Pareto front has "
            f"{len(state.front)} trial{'s' * (len(state.front) != 1)}."
        )
    sentences += _precision(record, winner)
    sentences.append(
        "That is the highest of many scores on the same images, which flatters, and no proof that it is the best."
    )
    if evaluation is not None and not evaluation.finished:
        done = evaluation.trainings
        sentences.append(f"An evaluation is unfinished: {done.ended} of {done.planned} trainings have ended.")
    elif evaluation is not None:
        sentences.append(f"The evaluation found no winner: {evaluation.verdict}")
    return sentences


def _parenthesis(state: RunState) -> str:
    return " of the validation images right" if list(state.objectives) == ["val_accuracy"] else ""


def _precision(record: PageRecord, winner: Trial) -> list[str]:
    """How many others are as good as it, as far as one score can tell."""
    state = record.state
    images = record.info.data.get("validation")
    if next(iter(state.objectives)) != "val_accuracy" or not images:
        return []
    found = estimate_precision(state, winner, images)
    told = [f"One standard error of such a score on {images:,} validation images is {found.error:.4f}."]
    if found.second is None:
        return [*told, "No other trial has completed its training."]
    told.append(
        f"The runner-up, {found.second.trial_id}, is {found.margin:.4f} behind; one standard error of such a "
        f"difference is about {found.margin_error:.4f}."
    )
    if found.indistinguishable == 0:
        return [*told, "That is more than such errors alone would make likely."]
    others = "1 other trial is" if found.indistinguishable == 1 else f"{found.indistinguishable} other trials are"
    return [*told, f"So these images cannot tell them apart: {others} less than two such errors behind."]


def _evaluated(evaluation: Evaluation) -> list[str]:
    best = next(one for one in evaluation.candidates if one.name == evaluation.winner)
    trainings = f"{best.trainings} trainings ({evaluation.folds} folds, {_seeds(evaluation)})"
    sentences = [evaluation.verdict]
    if best.mean is not None and best.interval is not None:
        low, high = best.interval
        sentences.append(
            f"{best.name} has a mean {named(evaluation.metric)} of {number(best.mean)} over {trainings}, between "
            f"{number(low)} and {number(high)} with a confidence of 95 %."
        )
    if best.search_score is not None:
        sentences.append(f"Its score in the search was {number(best.search_score)}.")
    if evaluation.comparisons:
        second = evaluation.comparisons[0]
        sentences.append(f"From the runner-up, {second.other}, it differs by {_difference(second)}.")
    against = None if evaluation.random is None else evaluation.random.comparison
    if against is not None and evaluation.random is not None and evaluation.random.best is not None:
        sentences.append(
            f"From the best of the random search of equal cost, {evaluation.random.best}, it differs by "
            f"{_difference(against)}."
        )
    return sentences


def _seeds(evaluation: Evaluation) -> str:
    return "1 seed" if len(evaluation.seeds) == 1 else f"{len(evaluation.seeds)} seeds"


def _difference(found: Difference) -> str:
    low, high = found.interval
    return f"{found.difference:+.4f} (95 % interval {low:+.4f} to {high:+.4f}; {_p(found.p_adjusted)})"


def _p(p: float) -> str:
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"


def _facts(record: PageRecord) -> dict[str, str]:
    state, config = record.state, record.info.config
    trained = [trial for trial in state.trials.values() if trial.attempt > 0]
    epochs = sum(trial.epochs for trial in trained)
    facts = {
        "trainings": f"{len(trained):,}, {sum(trial.status == 'completed' for trial in trained):,} of them whole",
        "epochs": f"{epochs:,}",
        "training time": f"{clock(sum(trial.train_seconds for trial in trained))} of slot time",
        "search time": clock(_seconds(record)),
        "slots": f"{state.slots:,} trials at a time",
    }
    utilisation = state.utilisation()
    if utilisation is not None:
        facts["slots busy training"] = f"{utilisation:.0%}, from the first start to the last end"
    data = config.get("data", {}).get("name")
    if data:
        facts["images"] = f"{data}: {_images(record.info.data)}"
    parts = ("space", "sampler", "scheduler")
    facts["searched by"] = ", ".join(str(config.get(part, {}).get("name", "?")) for part in parts)
    devices = sorted({trial.device for trial in trained if trial.device})
    if devices:
        facts["trained on"] = ", ".join(devices)
    if state.imported:
        facts["known before"] = f"{len(state.imported):,} results of other runs"
    return facts


def _images(data: dict[str, object]) -> str:
    parts = [f"{data[name]:,} {name}" for name in ("train", "validation", "test") if isinstance(data.get(name), int)]
    return ", ".join(parts) or "-"


def _seconds(record: PageRecord) -> float:
    """Of the search, without the times between an end and a resume."""
    state = record.state
    if record.standing == "running" and state.started_at is not None:
        return max(0.0, (record.read_at - state.started_at).total_seconds() - state.away_seconds)
    return state.active_seconds()
