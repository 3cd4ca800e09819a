"""Summarises a run in sentences: its state, its winner, whether that is more than noise, and its cost."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.progress import clock, guessing_doubt, number, plain_line, rivals_in_words, scores, signed_range
from orchestrator.record import ENDED, CandidatesCompared, Difference, Evaluation, RunState, Trial
from orchestrator.report.confirmation import how_chosen, progress_of, why_unconfirmed
from orchestrator.report.page.confirmation_plots import confirmed_front, left_out
from orchestrator.report.page.free_places import retrain_name
from orchestrator.report.page.next_steps import FOLDS, TOP, evaluation_cost
from orchestrator.report.page.plot import metric_label
from orchestrator.report.page.problems import problems_of
from orchestrator.report.page.record import PageRecord
from orchestrator.report.score_precision import estimate_precision
from orchestrator.words import counted

STANDINGS = {
    "running": "The search is still running",
    "confirming": "The search has ended, and its best candidates are being trained again",
    "died": "The search died: its process is gone, and its record has no end",
    "interrupted": "The search was interrupted",
    "failed": "An error ended the search",
    "completed": "The search has ended: it has used its budget of trials",
    "exhausted": "The search has ended",
    "out_of_time": "The search has ended: it has used its budget of hours",
}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The summary of a run."""

    standing: str
    """The state of the run, in one to three sentences."""
    verdict: Sequence[str]
    """Sentences: the winner, and whether it is more than noise."""
    tested: bool
    """Whether the winner was trained again, so that the verdict is more than a ranking."""
    winner: str | None
    """A trial id; None before a trial has completed."""
    facts: dict[str, str]
    """The costs of the search, by name."""
    full_size: str
    """What the command `retrain` does."""
    evaluation_cost: str
    """What the command `evaluate` costs; empty without that."""
    evaluate: str | None
    """The command that evaluates the search; None if that is not possible."""
    retrain: str | None
    """The command that retrains the winner; None if that is not possible."""
    resume: str | None
    """The command that resumes the search; None if it is running, or has ended with its budget of trials."""


def summary_of(record: PageRecord) -> Summary:
    """Summarise a run."""
    state, follow_ups = record.state, record.follow_ups
    winner = follow_ups.winner(state)
    ended = record.standing in ENDED
    tested = how_chosen(follow_ups, state) != "unconfirmed"
    can_evaluate = ended and not _has_verdict(record) and len(state.to_evaluate(TOP)) == TOP
    return Summary(
        standing=_standing(record),
        verdict=_verdict(record, winner),
        tested=tested,
        winner=None if winner is None else winner.trial_id,
        facts=_facts(record),
        full_size=_full_size(record),
        evaluation_cost=evaluation_cost(state) if can_evaluate else "",
        evaluate=_evaluate_command(record) if can_evaluate else None,
        retrain=None if winner is None else retrain_command(record, winner),
        resume=None if record.standing == "completed" else record.info.continuation(record.standing, record.location),
    )


def _has_verdict(record: PageRecord) -> bool:
    """Whether there is a finished evaluation with a winner; the search may have gone on since."""
    evaluation = record.follow_ups.evaluation
    return evaluation is not None and evaluation.finished and evaluation.winner is not None


def _evaluate_command(record: PageRecord) -> str:
    words = ["cellscout", "evaluate", record.location, "--top", str(TOP), "--folds", str(FOLDS)]
    if record.evaluation_dir is not None:
        words += ["--evaluation-dir", record.evaluation_dir]
    return shlex.join(words)


def retrain_command(record: PageRecord, trial: Trial) -> str | None:
    """Return the command that trains a trial's architecture at full size; None if that is not possible yet."""
    size = record.full_size
    if not record.retrainable or size is None:
        return None
    words = ["cellscout", "retrain", record.location]
    if trial is not record.follow_ups.winner(record.state):
        words += ["--architecture", f"{record.location}#{trial.trial_id}"]
    words += ["--repeats", str(size.repeats), "--filters", str(size.filters)]
    name = retrain_name(record.begun, trial, size, record.info)
    return shlex.join(words if name == trial.trial_id else [*words, "--name", name])


def _full_size(record: PageRecord) -> str:
    size, network = record.full_size, record.info.config.get("network", {})
    if size is None:
        return ""
    tested = any(one.accuracy is not None for one in record.follow_ups.retrained.values())
    return (
        f"This command trains the winner at full size (N = {size.repeats}, F = {size.filters}; in the search N = "
        f"{network.get('repeats', '?')}, F = {network.get('filters', '?')}) from scratch on the training and "
        f"validation {record.info.examples} together, and then tests it once: {size.cost}. The size is the largest "
        "that trains no longer than the whole search did. --epochs or --preset NAME, a paper's recipe "
        "(cellscout list presets), trains it longer."
        f"{'' if tested else f' The test {record.info.examples} have not been used yet.'}"
    )


def _standing(record: PageRecord) -> str:
    state, budget = record.state, record.info.config.get("budget", {}).get("trials")
    counts = state.counts()
    kinds = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "none yet"
    of = f" of {budget:,}" if budget else ""
    trained = sum(trial.attempt > 0 for trial in state.trials.values())
    why = f": {state.reason.removesuffix('.')}" if state.reason else ""
    now = STANDINGS.get(record.stage, record.stage)
    standing = f"{now}{why}. Trainings started: {trained:,}{of}. Proposals: {kinds}."
    if record.stage == "confirming":
        standing += f" {progress_of(state)}."
    if not record.breaks:
        return standing
    times = "once" if len(record.breaks) == 1 else f"{len(record.breaks)} times"
    away = clock(state.away_seconds)
    return f"{standing} It was stopped and resumed {times}; the times below leave out the {away} in between."


def _verdict(record: PageRecord, winner: Trial | None) -> list[str]:
    evaluation, state = record.follow_ups.evaluation, record.state
    if winner is None:
        problems = problems_of(state)
        missing = "No trial has completed its training, so there is no winner yet."
        if not problems:
            return [missing]
        first = problems[0]
        return [f"{counted(first.count, 'trial')} {first.kind}: {plain_line(first.message)}", missing]
    if evaluation is not None and record.follow_ups.evaluated_winner(state) is not None:
        return _evaluated(evaluation)
    doubt = guessing_doubt(state, record.info)
    sentences = [] if doubt is None else [f"{doubt[0].upper()}{doubt[1:]}."]
    found = _unconfirmed(record, winner) if state.confirmed is None else _confirmed(state.confirmed, state)
    return [*sentences, *found, *_unused_evaluation(record)]


def _confirmed(compared: CandidatesCompared, state: RunState) -> list[str]:
    winner, best = compared.winner, state.best
    first, *others = state.objectives
    score, label = winner.scores[first], metric_label(first)
    sentences = [
        f"Trial {winner.trial_id} is the confirmed winner: the mean {label} of its "
        f"{counted(winner.trainings, 'new training')} is {number(score.mean)}."
    ]
    if score.interval is not None:
        low, high = score.interval
        counts = "; this counts that it is the best of several" if len(compared.candidates) > 1 else ""
        sentences.append(
            f"Its true {label} is between {number(low)} and {number(high)} with a probability of 95 %{counts}."
        )
    if others:
        sentences += [f"The first objective, {label}, decides the winner.", *confirmed_front(compared, state)]
    else:
        rivals = rivals_in_words(compared)
        sentences.append(f"{rivals[0].upper()}{rivals[1:]}.")
    sentences += left_out(compared)
    before = f"In the search it had {scores(state.trials[winner.trial_id], state)}"
    if best is None or best.trial_id == winner.trial_id:
        return [*sentences, f"{before}."]
    return [*sentences, f"{before}; the best there was {best.trial_id} with {scores(best, state)}."]


def _unconfirmed(record: PageRecord, winner: Trial) -> list[str]:
    state = record.state
    sentences = [
        f"Trial {winner.trial_id} leads after its whole training of {counted(winner.epochs, 'epoch')}: "
        f"{scores(winner, state)}{_score_meaning(record)}."
    ]
    if len(state.objectives) > 1:
        sentences.append(
            f"The first objective, {metric_label(next(iter(state.objectives)))}, decides the winner; the Pareto front "
            f"has {counted(len(state.front), 'trial')}."
        )
    sentences += _precision(record, winner)
    return [
        *sentences,
        f"This winner is unconfirmed: {why_unconfirmed(record.standing, state, record.info)}.",
        f"As the best of many scores on the same {record.info.examples}, this score is too optimistic, and it is not a "
        "proof that the trial is the best.",
    ]


def _unused_evaluation(record: PageRecord) -> list[str]:
    """Say why an evaluation does not give the verdict."""
    evaluation = record.follow_ups.evaluation
    if evaluation is None:
        return [] if record.evaluating is None else [f"Evaluation: {record.evaluating}."]
    if not evaluation.finished:
        done = evaluation.trainings
        ended = f"{done.ended} of {done.planned} trainings have ended"
        return [f"An evaluation is unfinished: {ended}; the command that began it continues it."]
    if evaluation.winner is None:
        return [f"The evaluation found no winner: {evaluation.verdict}"]
    return [
        f"The search has gone on since its evaluation, which was of the first {evaluation.search.cost.trials} "
        f"trainings: {evaluation.verdict}"
    ]


def _score_meaning(record: PageRecord) -> str:
    info = record.info
    if list(record.state.objectives) != ["val_accuracy"] or info.score_bounds != (0.0, 1.0):
        return ""
    examples = f"the validation {info.examples}"
    return f" of {examples} classified correctly" if info.counted_examples else f", the {info.score_name} on {examples}"


def _precision(record: PageRecord, winner: Trial) -> list[str]:
    """Say how many other trials may be as good as the winner, given the precision of one score."""
    state = record.state
    if next(iter(state.objectives)) != "val_accuracy":
        return []
    found = estimate_precision(state, winner, record.info)
    if found is None:
        return []
    count, examples = record.info.data["validation"], record.info.examples
    sentences = [f"One standard error of such a score on {count:,} validation {examples} is {found.error:.4f}."]
    if found.second is None:
        return [*sentences, "No other trial has completed its training."]
    sentences.append(
        f"The runner-up, {found.second.trial_id}, is {found.margin:.4f} behind; one standard error of such a "
        f"difference is about {found.margin_error:.4f}."
    )
    if found.indistinguishable == 0:
        return [*sentences, "That is more than such errors are likely to cause."]
    others = "1 other trial is" if found.indistinguishable == 1 else f"{found.indistinguishable} other trials are"
    return [*sentences, f"So these {examples} cannot tell them apart: {others} less than two such errors behind."]


def _evaluated(evaluation: Evaluation) -> list[str]:
    best = next(one for one in evaluation.candidates if one.name == evaluation.winner)
    trainings = f"{best.trainings} trainings ({evaluation.folds} folds, {counted(len(evaluation.seeds), 'seed')})"
    sentences = [evaluation.verdict]
    if best.mean is not None:
        interval = "all its scores are equal, so it has no interval"
        if best.interval is not None:
            low, high = best.interval
            interval = (
                f"its 95 % interval, which allows for the choice of the winner, is {number(low)} to {number(high)}"
            )
        mean = f"a mean {metric_label(evaluation.metric)} of {number(best.mean)}"
        sentences.append(f"{best.name} has {mean} over {trainings}; {interval}.")
    if best.search_score is not None:
        sentences.append(f"Its score in the search was {number(best.search_score)}.")
    if evaluation.comparisons:
        second = evaluation.comparisons[0]
        sentences.append(f"Its difference from the runner-up, {second.other}, is {_difference(second)}.")
    against = None if evaluation.random is None else evaluation.random.comparison
    if against is not None and evaluation.random is not None and evaluation.random.best is not None:
        sentences.append(
            f"Its difference from the best of the random search of equal cost, {evaluation.random.best}, is "
            f"{_difference(against)}."
        )
    if evaluation.fuller is not None:
        sentences.append(evaluation.fuller)
    return sentences


def _difference(found: Difference) -> str:
    if found.p_adjusted is None:
        return f"{found.difference:+.4f} in every training, so it cannot be tested"
    return f"{found.difference:+.4f} (95 % interval {signed_range(found.interval)}; {_p(found.p_adjusted)})"


def _p(p: float) -> str:
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"


def _facts(record: PageRecord) -> dict[str, str]:
    state, config = record.state, record.info.config
    trained = [trial for trial in state.trials.values() if trial.attempt > 0]
    epochs = sum(trial.epochs for trial in trained)
    facts = {
        "trainings": f"{len(trained):,}, {sum(trial.status == 'completed' for trial in trained):,} of them completed",
        "epochs": f"{epochs:,}",
        "training time": f"{clock(sum(trial.train_seconds for trial in trained))}, summed over the slots",
        "search time": f"{clock(_seconds(record))}{', with the confirmation' if state.repeats else ''}",
        "slots": f"{counted(state.slots, 'trial')} at a time",
    }
    if state.repeats:
        seconds = sum(repeat.train_seconds for repeat in state.repeats.values())
        facts["confirmation"] = (
            f"{counted(len(state.repeats), 'new training')} of "
            f"{counted(len({repeat.repeats for repeat in state.repeats.values()}), 'candidate')}, {clock(seconds)} of "
            "training time"
        )
    utilisation = state.utilisation()
    if utilisation is not None:
        facts["slots busy training"] = f"{utilisation:.0%}, from the first start to the last end"
    data = config.get("data", {}).get("name")
    if data:
        facts[record.info.examples] = f"{data}: {_counts(record.info.data)}"
    parts = ("space", "sampler", "scheduler", "trainable")
    facts["searched by"] = ", ".join(f"{part} {record.info.component(part)}" for part in parts)
    devices = sorted({trial.device for trial in trained if trial.device})
    if devices:
        facts["trained on"] = ", ".join(devices)
    if state.imported:
        facts["imported"] = f"{counted(len(state.imported), 'result')} of other runs"
    return facts


def _counts(data: dict[str, object]) -> str:
    parts = [f"{data[name]:,} {name}" for name in ("train", "validation", "test") if isinstance(data.get(name), int)]
    return ", ".join(parts) or "-"


def _seconds(record: PageRecord) -> float:
    """Return the duration of the search in seconds, without the time between an end and a resume."""
    state = record.state
    if record.standing == "running" and state.started_at is not None:
        return max(0.0, (record.read_at - state.started_at).total_seconds() - state.away_seconds)
    return state.active_seconds()
