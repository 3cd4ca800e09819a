"""The verdict of an evaluation in words: the winner, or that no difference was found."""

from __future__ import annotations

from orchestrator.evaluation.effort import MIN_TRAININGS
from orchestrator.evaluation.outcome import Outcome
from orchestrator.progress import LOOK_AT, number
from orchestrator.significance import PairedTest, is_chance
from orchestrator.words import counted, join_words

SAMPLE = "the best of a random search of equal cost"
SAME = "their scores differ by the same amount in every training"


def verdict(outcome: Outcome) -> str:
    """A few sentences on the winner, the front, the random search and candidates without a rank."""
    if not outcome.finished:
        ended = f"{outcome.ended} of {outcome.planned} trainings have ended"
        return f"Not finished: {ended}; the command that began it continues it."
    sentences = [*_of_guessing(outcome), _of_candidates(outcome)]
    if outcome.several_objectives:
        front = [one.name for one in outcome.candidates if one.on_front]
        sentences.append(f"By the means of all objectives, beaten by none: {join_words(front)}.")
    if outcome.winner is not None:
        sentences += _of_sample(outcome, outcome.winner)
    sentences += [
        f"{one.name} is left out: {len(one.problems)} of its {one.trainings} trainings did not complete; the first "
        f"{one.problems[0]}."
        for one in outcome.candidates
        if one.problems
    ]
    return " ".join(sentences)


def _of_guessing(outcome: Outcome) -> list[str]:
    """Say first if the winner is not clearly better than guessing."""
    best, share = outcome.candidates[0].spread, outcome.guess
    if outcome.winner is None or best is None or share is None or (best.interval or (best.mean,))[0] > share:
        return []
    return [f"No candidate is clearly better than always guessing the largest class ({number(share)}): {LOOK_AT}."]


def _of_candidates(outcome: Outcome) -> str:
    if outcome.trainings < MIN_TRAININGS:
        return (
            f"No verdict: each candidate was trained {counted(outcome.trainings, 'time')}, and at least "
            f"{MIN_TRAININGS} trainings are needed (--folds, --seeds)."
        )
    if outcome.winner is None:
        return "Nothing can be compared: fewer than two candidates of the search have a score for each training."
    compared = {one.other: one.p_adjusted for one in outcome.comparisons}
    untested = [other for other, p in compared.items() if p is None]
    level = [other for other, p in compared.items() if p is not None and is_chance(p)]
    worse = len(compared) - len(level) - len(untested)
    if level or untested:
        parts = [f"No difference found among {join_words([outcome.winner, *level])}"] if level else []
        if worse:
            parts.append(f"{'1 other is' if worse == 1 else f'{worse} others are'} worse than {outcome.winner}")
        if untested:
            parts.append(f"{outcome.winner} cannot be tested against {join_words(untested)}: {SAME}")
        return f"{'; '.join(parts)}."
    extreme = "highest" if outcome.direction == "maximize" else "lowest"
    others = "the other" if worse == 1 else f"each of the other {worse}"
    return (
        f"The winner is {outcome.winner}: its mean {outcome.metric} is the {extreme}, and its difference from {others} "
        "is more than chance."
    )


def _of_sample(outcome: Outcome, winner: str) -> list[str]:
    if outcome.sample_cost is None:
        return []
    if outcome.sampled is None:
        return ["A random search of equal cost found no candidate that completed its training."]
    if outcome.sampled == winner:
        return [f"{winner} is also {SAMPLE}."]
    against = outcome.against_sampled
    if against is None:
        return []
    test = against.test
    if test.interval is None:
        return [f"{winner} cannot be tested against {SAMPLE}, {outcome.sampled}: {SAME}."]
    if is_chance(against.p_adjusted):
        return [f"No difference found between {winner} and {SAMPLE}, {outcome.sampled}."]
    better = (test.difference > 0) == (outcome.direction == "maximize")
    return [f"{winner} is {'better' if better else 'worse'} than {SAMPLE}, {outcome.sampled}, by {_size(test)}."]


def _size(test: PairedTest) -> str:
    assert test.interval is not None, "it was tested"
    low, high = sorted(abs(bound) for bound in test.interval)
    return f"{number(abs(test.difference))} (between {number(low)} and {number(high)} with a confidence of 95 %)"
