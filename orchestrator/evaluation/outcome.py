"""The outcome of an evaluation: scores, ranking, tests, rank correlations. Pure functions of the records; no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import mean

from orchestrator.evaluation.effort import MIN_TRAININGS, fuller_evaluation
from orchestrator.objectives import Direction, dominates, losses_of
from orchestrator.record import EvaluatedCandidate, RunState, Training, Trial, score_of, scores_of, trainings_of
from orchestrator.significance import (
    PairedTest,
    RankCorrelation,
    Spread,
    holm,
    paired_test,
    rank_correlation,
)
from orchestrator.significance import spread as spread_of


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A candidate and the results of its trainings."""

    candidate: EvaluatedCandidate
    rank: int | None
    """From 1; None unless every training has a score, because the tests pair the scores."""
    scores: dict[Training, float]
    trainings: int
    problems: list[str]
    """Status and error of each training that did not complete."""
    spread: Spread | None
    search_rank: int | None
    """Rank of the candidate's trial in the search; None if only the random sample has the candidate."""
    search_score: float | None
    """Score of the candidate's trial in the search; None if only the random sample has the candidate."""
    objectives: dict[str, float] | None
    """Means over the trainings; None unless all values are known."""
    on_front: bool
    """Whether no other candidate of the search dominates it in `objectives`."""

    @property
    def name(self) -> str:
        return self.candidate.name


@dataclass(frozen=True)
class Comparison:
    """A test of the winner against another candidate."""

    other: str
    test: PairedTest
    p_adjusted: float | None
    """Adjusted for the number of candidates among which these scores chose the winner; None if `test.p` is None."""


@dataclass(frozen=True)
class Cost:
    """The cost of a search: trained candidates, their epochs, and the seconds of training."""

    trials: int
    epochs: int
    train_seconds: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of an evaluation, finished or not."""

    metric: str
    direction: Direction
    folds: int
    seeds: list[int]
    finished: bool
    ended: int
    """Trainings that have ended."""
    planned: int
    """All trainings."""
    candidates: list[Evaluated]
    """In the order of their ranks; those without a rank are last."""
    winner: str | None
    comparisons: list[Comparison]
    """The winner against each other candidate of the search; the runner-up is first."""
    sampled: str | None
    """The best candidate of the random sample."""
    against_sampled: Comparison | None
    """The winner against `sampled`; None if they are the same candidate."""
    correlations: dict[int, RankCorrelation]
    """By epoch, for the search's rungs and its last epoch: the search's scores against this evaluation's means."""
    correlated: dict[int, int]
    """By epoch, the number of candidates in the rank correlation."""
    several_objectives: bool
    guess: float | None
    """The score of always guessing the largest class; None if it is unknown."""
    search_cost: Cost
    sample_cost: Cost | None
    fuller: str | None
    """What more seeds would add and cost; None if there is no winner, or there are seeds enough."""

    @property
    def is_whole(self) -> bool:
        """Whether it has what was asked for: a winner, or all scores if too few trainings were asked for a verdict."""
        return self.winner is not None or (self.finished and self.trainings < MIN_TRAININGS)

    @property
    def trainings(self) -> int:
        """The planned number of trainings of each candidate: folds times seeds."""
        return self.folds * len(self.seeds)


def outcome_of(
    state: RunState,
    *,
    searched: RunState,
    sample: RunState | None,
    rungs: Sequence[int] | None,
    epochs: int,
    bounds: tuple[float, float] | None,
    guess: float | None = None,
) -> Outcome:
    """Compute the outcome of an evaluation.

    Args:
        state: the evaluation, planned.
        searched: the search that is evaluated.
        sample: the random search of equal cost, if there is one.
        rungs: epochs at which the search's scheduler decided; None: at every epoch.
        epochs: length of a full training.
        bounds: of the score by which candidates are compared; None if nothing bounds it.
        guess: the score of always guessing the largest class of the validation images.
    """
    plan = state.evaluation
    assert plan is not None, "it has been planned"
    metric, direction = score_of(state.objectives)
    sign = 1 if direction == "maximize" else -1
    candidates = _ranked(
        [
            _evaluated(candidate, state=state, searched=searched, metric=metric, bounds=bounds)
            for candidate in plan.candidates
        ],
        sign,
    )
    comparable = _of_search(candidates)
    enough = plan.folds * len(plan.seeds) >= MIN_TRAININGS
    winner = comparable[0] if len(comparable) > 1 and enough else None
    sampled = next((one for one in candidates if one.candidate.random_id is not None), None)
    at = sorted({*(range(1, epochs + 1) if rungs is None else rungs), epochs})
    pairs = {epoch: _pairs(comparable, searched=searched, metric=metric, epoch=epoch) for epoch in at}
    ended = sum(trial.status != "running" for trial in state.trials.values())
    return Outcome(
        metric=metric,
        direction=direction,
        folds=plan.folds,
        seeds=plan.seeds,
        finished=ended == len(state.trials),
        ended=ended,
        planned=len(state.trials),
        candidates=_on_front(candidates, state.objectives),
        winner=None if winner is None else winner.name,
        comparisons=[] if winner is None else _comparisons(comparable, plan.folds, bounds),
        sampled=None if sampled is None else sampled.name,
        against_sampled=None if winner is None else _against(comparable, sampled, folds=plan.folds, bounds=bounds),
        correlations={epoch: rank_correlation(*pair) for epoch, pair in pairs.items()},
        correlated={epoch: len(first) for epoch, (first, _) in pairs.items()},
        several_objectives=len(state.objectives) > 1,
        guess=guess,
        search_cost=_cost(searched),
        sample_cost=None if sample is None else _cost(sample),
        fuller=None if winner is None else fuller_evaluation(state, sample),
    )


def _evaluated(
    candidate: EvaluatedCandidate,
    *,
    state: RunState,
    searched: RunState,
    metric: str,
    bounds: tuple[float, float] | None,
) -> Evaluated:
    assert state.evaluation is not None, "it has been planned"
    folds, candidates = state.evaluation.folds, len(state.evaluation.candidates)
    trials = trainings_of(state, candidate)
    scores = dict(sorted(scores_of(state, candidate, metric).items()))
    ranking = [trial.trial_id for trial in searched.ranking()]
    known = candidate.trial_id is not None
    return Evaluated(
        candidate=candidate,
        rank=None,
        scores=scores,
        trainings=len(trials),
        problems=[f"{trial.status}: {trial.error}" for trial in trials if trial.status not in ("completed", "running")],
        spread=spread_of(list(scores.values()), folds, bounds, candidates=candidates) if len(scores) > 1 else None,
        search_rank=ranking.index(candidate.trial_id) + 1 if known and candidate.trial_id in ranking else None,
        search_score=searched.trials[candidate.trial_id].metric(metric) if candidate.trial_id is not None else None,
        objectives=_means(trials, state.objectives) if len(scores) == len(trials) else None,
        on_front=False,
    )


def _means(trials: Sequence[Trial], objectives: Mapping[str, Direction]) -> dict[str, float] | None:
    means = {}
    for name in objectives:
        values = [value for trial in trials if (value := trial.metric(name)) is not None]
        if len(values) < len(trials):
            return None
        means[name] = mean(values)
    return means


def _ranked(candidates: Sequence[Evaluated], sign: int) -> list[Evaluated]:
    """Candidates with all their scores by their means, then the others in the order of the plan."""

    def loss(one: Evaluated) -> float:
        assert one.spread is not None, "it has all its trainings"
        return -sign * one.spread.mean

    whole = [one for one in candidates if one.spread is not None and len(one.scores) == one.trainings]
    others = [one for one in candidates if one not in whole]
    return [replace(one, rank=rank) for rank, one in enumerate(sorted(whole, key=loss), start=1)] + others


def _of_search(candidates: Sequence[Evaluated]) -> list[Evaluated]:
    """The candidates of the search that have a rank, best first."""
    return [one for one in candidates if one.rank is not None and one.candidate.trial_id is not None]


def _on_front(candidates: Sequence[Evaluated], objectives: Mapping[str, Direction]) -> list[Evaluated]:
    comparable = _of_search(candidates)
    losses = {
        one.name: found
        for one in comparable
        if one.objectives is not None and (found := losses_of(one.objectives.get, objectives)) is not None
    }
    front = {name for name, found in losses.items() if not any(dominates(other, found) for other in losses.values())}
    return [replace(one, on_front=one.name in front) for one in candidates]


def _comparisons(comparable: Sequence[Evaluated], folds: int, bounds: tuple[float, float] | None) -> list[Comparison]:
    """Test the first candidate against each other one. P is adjusted for all pairs: the same scores chose the first."""
    pairs = list(combinations(comparable, 2))
    tests = [_test(*pair, folds=folds, bounds=bounds) for pair in pairs]
    adjusted = holm([test.p for test in tests])
    found = [Comparison(other.name, test, p) for (_, other), test, p in zip(pairs, tests, adjusted, strict=True)]
    return found[: len(comparable) - 1]


def _against(
    comparable: Sequence[Evaluated], sampled: Evaluated | None, *, folds: int, bounds: tuple[float, float] | None
) -> Comparison | None:
    """Test the first against the sampled one; adjusted for all candidates, because these scores chose the first."""
    if sampled is None or sampled.rank is None or comparable[0].name == sampled.name:
        return None
    tests = [_test(one, sampled, folds=folds, bounds=bounds) for one in comparable if one.name != sampled.name]
    return Comparison(sampled.name, tests[0], holm([test.p for test in tests])[0])


def _test(first: Evaluated, second: Evaluated, *, folds: int, bounds: tuple[float, float] | None) -> PairedTest:
    """Paired by seed and fold."""
    assert list(first.scores) == list(second.scores), "both have all their scores, in the same order"
    return paired_test(list(first.scores.values()), list(second.scores.values()), folds, bounds)


def _pairs(
    candidates: Sequence[Evaluated], *, searched: RunState, metric: str, epoch: int
) -> tuple[list[float], list[float]]:
    """For each candidate, the search's score at this epoch and the mean of the evaluation."""
    pairs = []
    for one in candidates:
        assert one.candidate.trial_id is not None, "it is one of the search"
        curve = searched.trials[one.candidate.trial_id].curve
        score = next((row.metric(metric) for row in curve if row.epoch == epoch), None)
        if score is not None and one.spread is not None:
            pairs.append((score, one.spread.mean))
    return [score for score, _ in pairs], [found for _, found in pairs]


def _cost(state: RunState) -> Cost:
    trained = [trial for trial in state.trials.values() if trial.attempt > 0]
    return Cost(len(trained), sum(trial.epochs for trial in trained), sum(trial.train_seconds for trial in trained))
