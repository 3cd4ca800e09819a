"""Shows an evaluation's outcome as tables, text and JSON, and as a Parquet table."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from orchestrator.evaluation.outcome import Comparison, Cost, Evaluated, Outcome
from orchestrator.evaluation.verdict import verdict
from orchestrator.progress import clock, number, signed_range
from orchestrator.record import (
    CandidateScore,
    Difference,
    EpochCorrelation,
    EvaluatedScores,
    EvaluatedSearchCost,
    Evaluation,
    RandomSearch,
    SearchCost,
    Trainings,
    WinnerDifference,
)
from orchestrator.words import counted

CANDIDATES = "candidates.parquet"

CANDIDATE_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("trial_id", pa.string()),
        pa.field("random_id", pa.string()),
        pa.field("fingerprint", pa.string(), nullable=False),
        pa.field("architecture", pa.string(), nullable=False),
        pa.field("parameters", pa.int64()),
        pa.field("macs", pa.int64()),
        pa.field("rank", pa.int32()),
        pa.field("trainings", pa.int32(), nullable=False),
        pa.field("scores", pa.int32(), nullable=False),
        pa.field("mean", pa.float64()),
        pa.field("deviation", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("search_rank", pa.int32()),
        pa.field("search_score", pa.float64()),
        pa.field("on_front", pa.bool_(), nullable=False),
    ]
)


def evaluation_tables(outcome: Outcome) -> RenderableType:
    """Tables of the candidates, their comparisons and the rank correlations, in 80 columns."""
    parts: list[RenderableType] = [_candidates(outcome)]
    if outcome.winner is not None:
        parts.append(_comparisons(outcome, outcome.winner))
        if any(found.spearman is not None for found in outcome.correlations.values()):
            parts.append(_correlations(outcome))
    return Group(*parts)


def evaluation_summary(outcome: Outcome, folder: str) -> str:
    """Trainings, costs and the verdict in a few lines of text."""
    seeds = counted(len(outcome.seeds), "seed")
    lines = [
        f"evaluation  {folder}",
        f"trainings   {outcome.ended} of {outcome.planned} ended: {outcome.folds} folds, {seeds}",
    ]
    for name, cost in (("search", outcome.search_cost), ("random", outcome.sample_cost)):
        if cost is not None:
            lines.append(
                f"{name:<11} {counted(cost.trials, 'trial')}, {counted(cost.epochs, 'epoch')}, "
                f"{clock(cost.train_seconds)} of training"
            )
    lines.append(f"verdict     {verdict(outcome)}")
    if outcome.fuller is not None:
        lines.append(f"fuller      {outcome.fuller}")
    return "\n".join(lines)


def evaluation_json(outcome: Outcome) -> dict[str, Any]:
    """The whole outcome as JSON, as in `evaluation.json`."""
    random = None
    if outcome.sample_cost is not None:
        against = outcome.against_sampled
        comparison = None if against is None else Difference(**_difference(against))
        random = RandomSearch(best=outcome.sampled, cost=_cost(outcome.sample_cost), comparison=comparison)
    return Evaluation(
        verdict=verdict(outcome),
        finished=outcome.finished,
        metric=outcome.metric,
        direction=outcome.direction,
        folds=outcome.folds,
        seeds=outcome.seeds,
        trainings=Trainings(ended=outcome.ended, planned=outcome.planned),
        winner=outcome.winner,
        candidates=[_scores(one) for one in outcome.candidates],
        comparisons=[WinnerDifference(winner=outcome.winner, **_difference(one)) for one in outcome.comparisons],
        random=random,
        search=EvaluatedSearchCost(cost=_cost(outcome.search_cost)),
        rank_correlations=[
            EpochCorrelation(epoch=epoch, candidates=outcome.correlated[epoch], **asdict(found))
            for epoch, found in outcome.correlations.items()
        ],
        fuller=outcome.fuller,
    ).to_json()


def candidates_table(outcome: Outcome) -> pa.Table:
    """One row per candidate, best first."""
    rows = []
    for one in outcome.candidates:
        row = _scores(one).to_json()
        low, high = row.pop("interval") or (None, None)
        architecture, scores = json.dumps(row.pop("architecture")), len(row.pop("scores"))
        rows.append({**row, "architecture": architecture, "scores": scores, "low": low, "high": high})
    return pa.Table.from_pylist(rows, CANDIDATE_SCHEMA)


def _cost(cost: Cost) -> SearchCost:
    return SearchCost(**asdict(cost))


def _difference(one: Comparison) -> dict[str, Any]:
    return {"other": one.other, **asdict(one.test), "p_adjusted": one.p_adjusted}


def _scores(one: Evaluated) -> EvaluatedScores:
    costs, spread = one.candidate.costs, one.spread
    return EvaluatedScores(
        name=one.name,
        trial_id=one.candidate.trial_id,
        random_id=one.candidate.random_id,
        rank=one.rank,
        mean=None if spread is None else spread.mean,
        deviation=None if spread is None else spread.deviation,
        interval=None if spread is None else spread.interval,
        search_rank=one.search_rank,
        search_score=one.search_score,
        trainings=one.trainings,
        problems=one.problems,
        scores=[CandidateScore(seed=seed, fold=fold, score=score) for (seed, fold), score in one.scores.items()],
        objectives=one.objectives,
        on_front=one.on_front,
        parameters=int(costs["parameters"]) if costs else None,
        macs=int(costs["macs"]) if costs else None,
        fingerprint=one.candidate.fingerprint,
        architecture=one.candidate.architecture,
    )


def _candidates(outcome: Outcome) -> Table:
    title = f"{outcome.metric}: {outcome.folds}-fold cross-validation with {counted(len(outcome.seeds), 'seed')}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("rank", "cell", "mean", "deviation", "95 % interval", "in search", "parameters"):
        table.add_column(name, justify="left" if name == "cell" else "right", no_wrap=True)
    for one in outcome.candidates:
        spread, place = one.spread, "-" if one.search_rank is None else f"{one.search_rank}. {number(one.search_score)}"
        table.add_row(
            "-" if one.rank is None else str(one.rank),
            one.name,
            "-" if spread is None else number(spread.mean),
            "-" if spread is None else f"{spread.deviation:.4f}",
            "-" if spread is None or spread.interval is None else "{:.3f} - {:.3f}".format(*spread.interval),
            place,
            f"{int(one.candidate.costs['parameters']):,}" if one.candidate.costs else "-",
        )
    return table


def _comparisons(outcome: Outcome, winner: str) -> Table:
    table = Table(title=f"{winner} compared (corrected resampled t-test, paired)", box=box.SIMPLE_HEAD)
    for name in ("with", "difference", "95 % interval", "p", "p adjusted"):
        table.add_column(name, justify="left" if name == "with" else "right", no_wrap=True)
    with_sampled = outcome.against_sampled
    compared = [one.other for one in outcome.comparisons]
    for one in [
        *outcome.comparisons,
        *([with_sampled] if with_sampled is not None and with_sampled.other not in compared else []),
    ]:
        test, interval = one.test, signed_range(one.test.interval)
        table.add_row(one.other, f"{test.difference:+.4f}", interval, number(test.p), number(one.p_adjusted))
    return table


def _correlations(outcome: Outcome) -> Table:
    table = Table(title="Rank correlation of the search's scores with the evaluation's", box=box.SIMPLE_HEAD)
    for name in ("after epoch", "candidates", "Spearman", "Kendall"):
        table.add_column(name, justify="right", no_wrap=True)
    for epoch, found in outcome.correlations.items():
        values = ["-" if value is None else f"{value:+.2f}" for value in (found.spearman, found.kendall)]
        table.add_row(str(epoch), str(outcome.correlated[epoch]), *values)
    return table
