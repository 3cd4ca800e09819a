"""What an evaluation concludes and how it says so; without Ray, by events as the recorder writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rich

from orchestrator.evaluation.outcome import outcome_of
from orchestrator.evaluation.tables import candidates_table, evaluation_json, evaluation_summary, evaluation_tables
from orchestrator.evaluation.verdict import verdict
from orchestrator.objectives import Direction
from orchestrator.record.results import Evaluation
from orchestrator.record.run_state import RunState
from orchestrator.significance import is_chance
from tests.evaluated import (
    CLEAR,
    SEARCH,
    around,
    end,
    evaluated,
    planned,
    searched,
)


def test_the_verdict_names_a_winner_only_where_the_difference_is_more_than_chance() -> None:
    assert verdict(evaluated(*CLEAR)) == (
        "The winner is 00001: its mean val_accuracy is the highest, and its difference from each of the other 2 is "
        "more than chance."
    )
    level = evaluated([0.90, 0.80, 0.91, 0.85, 0.9, 0.8], [0.85, 0.88, 0.86, 0.90, 0.85, 0.9], [0.1] * 6)
    assert verdict(level) == "No difference found among 00001 and 00000; 1 other is worse than 00001."


def test_what_does_not_vary_cannot_be_tested() -> None:
    reason = "their scores differ by the same amount in every training."
    same = evaluated(*([around(0.9)] * 3))
    assert verdict(same) == f"00000 cannot be tested against 00001 and 00002: {reason}"
    assert {(one.test.p, one.p_adjusted, one.test.interval) for one in same.comparisons} == {(None, None, None)}
    sample = searched([0.5, 0.99], [0.5, 0.1], first=3)
    mixed = evaluated(around(0.9), around(0.8), around(0.7, 1), around(0.6), sample=sample)
    assert verdict(mixed) == (
        f"1 other is worse than 00000; 00000 cannot be tested against 00001: {reason} "
        f"00000 cannot be tested against the best of a random search of equal cost, random/00000: {reason}"
    )
    found = json.loads(json.dumps(evaluation_json(mixed)))
    assert [one["p"] is None for one in found["comparisons"]] == [True, False]
    assert (found["random"]["comparison"]["p_adjusted"], found["random"]["comparison"]["interval"]) == (None, None)
    assert Evaluation.model_validate(found).comparisons[0].p is None
    still = evaluated([0.9] * 6, around(0.8), around(0.7), guess=0.27)
    assert still.candidates[0].spread is not None
    assert still.candidates[0].spread.interval is None
    assert verdict(still).startswith("The winner is 00000")
    rich.print(evaluation_tables(still))
    assert candidates_table(still).to_pylist()[0]["low"] is None


def test_the_intervals_of_all_candidates_hold_at_once() -> None:
    """Six trainings, 2 folds: t with 5 degrees of freedom at 1 - 0.05 / 3 / 2 is 3.5341, the error s sqrt(1/6 + 1)."""
    found = evaluated(*CLEAR).candidates[0].spread
    assert found is not None
    assert found.interval is not None
    reach = 3.5341 * np.std(CLEAR[1], ddof=1) * (1 / 6 + 1) ** 0.5
    assert found.interval == pytest.approx((0.9 - reach, 0.9 + reach), abs=1e-6)


@pytest.mark.parametrize(("seeds", "count"), [([1], 2), ([1, 2], 4)])
def test_fewer_than_five_trainings_give_no_verdict(seeds: list[int], count: int) -> None:
    outcome = evaluated(*(scores[:count] for scores in CLEAR), seeds=seeds)
    assert verdict(outcome) == (
        f"No verdict: each candidate was trained {count} times, and at least 5 trainings are needed (--folds, --seeds)."
    )
    assert (outcome.winner, outcome.comparisons, outcome.against_sampled) == (None, [], None)


def test_intervals_stay_within_the_bounds_of_the_score() -> None:
    outcome = evaluated([1.0, 0.9, 1.0, 0.9, 1.0, 1.0], [0.0, 0.1, 0.0, 0.0, 0.1, 0.0], around(0.5))
    high, _, low = (one.spread.interval for one in outcome.candidates if one.spread is not None)
    assert high is not None
    assert low is not None
    assert (high[1], low[0]) == (1.0, 0.0)
    assert max(one.test.interval[1] for one in outcome.comparisons if one.test.interval) == 1.0
    wide = evaluated(*([0.9, 0.9, 0.9, 0.1, 0.1, 0.9], around(0.5), around(0.4)))
    assert all(-1 <= bound <= 1 for one in wide.comparisons for bound in one.test.interval or ())


def test_fewer_than_four_candidates_have_no_rank_correlation() -> None:
    assert {(one.spearman, one.kendall) for one in evaluated(*CLEAR).correlations.values()} == {(None, None)}
    four = searched([0.3, 0.9], [0.2, 0.8], [0.4, 0.7], [0.5, 0.6])
    outcome = evaluated(*CLEAR, around(0.6), search=four)
    assert {epoch: one.spearman for epoch, one in outcome.correlations.items()} == pytest.approx({1: -0.8, 2: 0.6})


def test_a_winner_that_does_not_clearly_beat_guessing_is_doubted_first() -> None:
    guessing = evaluated(around(0.25), around(0.27), around(0.24), guess=0.27)
    assert verdict(guessing).startswith(
        "No candidate is clearly better than always guessing the largest class (0.2700): look at the images and their "
        "labels, training.learning_rate, batch_size and epochs first. "
    )
    assert verdict(evaluated(*CLEAR, guess=0.27)).startswith("The winner is 00001")


def test_being_picked_as_the_best_of_equals_is_no_difference() -> None:
    """Candidates that are equal: the highest of six means is called better than one of the others, or than the best of
    the random search, no more often than chance may."""
    generator = np.random.default_rng(0)
    searches, overlap = 400, 1 / 2  # of two folds, as Nadeau and Bengio take it
    search = searched(*[[0.5, 0.5]] * 5)
    sample = searched([0.5, 0.5], first=5)
    worse = better = 0
    for _ in range(searches):
        noise = generator.normal(size=(6, 6)) * (1 - overlap) ** 0.5 + generator.normal(size=(6, 1)) * overlap**0.5
        outcome = evaluated(*(0.5 + 0.01 * noise).tolist(), search=search, sample=sample)
        worse += any(not is_chance(one.p_adjusted) for one in outcome.comparisons)
        against = outcome.against_sampled
        better += against is not None and not is_chance(against.p_adjusted) and against.test.difference > 0
    assert 0 < worse < 0.05 * searches
    assert 0 < better < 0.05 * searches


def test_it_says_what_more_seeds_would_add() -> None:
    """Three candidates: t at 1 - 0.05 / 3 / 2 is 3.5341 with 5 degrees of freedom and 3.0101 with 8. Each training
    takes a second, and there are 2 workers."""
    candidates = [around(0.7, 1), around(0.9), around(0.5, 2)]
    narrower = 100 - 100 * 3.0101 * (1 / 9 + 1 / 2) ** 0.5 / (3.5341 * (1 / 6 + 1 / 2) ** 0.5)
    outcome = evaluated(*candidates, seeds=[1, 2], folds=3)
    assert outcome.fuller == (
        f"With --seeds 3 the intervals would be about {narrower:.0f} % narrower: 27 trainings, about 15 s, in "
        "another --evaluation-dir."
    )
    assert evaluation_summary(outcome, "here").endswith(f"\nfuller      {outcome.fuller}")
    assert evaluation_json(outcome)["fuller"] == outcome.fuller
    again = evaluated(*candidates, around(0.6), seeds=[1, 2], folds=3, sample=searched([0.5, 0.99], first=3))
    assert "36 trainings and a random search, about 20 s" in (again.fuller or "")
    assert evaluated(*candidates).fuller is None  # three seeds


def test_a_loss_is_better_when_it_is_lower() -> None:
    objectives: dict[str, Direction] = {"train_loss": "minimize"}
    search = searched([0.5, 0.9], [0.5, 0.8], objectives=objectives)
    outcome = evaluated(around(0.9), around(0.8), search=search, objectives=objectives)
    assert (outcome.metric, outcome.direction) == ("train_loss", "minimize")
    assert outcome.candidates[0].spread is not None
    assert "cannot be tested" in verdict(outcome)  # all losses of these events are 1


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (0.6, "00001 is better than the best of a random search of equal cost, random/00000, by 0.3000 (between"),
        (0.95, "00001 is worse than the best of a random search of equal cost, random/00000, by 0.0500 (between"),
        (0.9, "No difference found between 00001 and the best of a random search of equal cost, random/00000."),
    ],
)
def test_the_best_of_a_random_search_stands_beside_it(score: float, told: str) -> None:
    sample = searched([0.5, 0.99], [0.5, 0.1], first=3)
    outcome = evaluated(*CLEAR, around(score, 1), sample=sample)
    assert outcome.sampled == "random/00000"
    assert outcome.winner == "00001"
    assert told in verdict(outcome)
    assert verdict(outcome).startswith("The winner is 00001")
    assert outcome.sample_cost is not None
    assert (outcome.sample_cost.trials, outcome.sample_cost.epochs, outcome.search_cost.epochs) == (2, 4, 6)


def test_a_cell_that_both_found_is_trained_once() -> None:
    sample = searched([0.5, 0.99], first=1)
    outcome = evaluated(*CLEAR, sample=sample)
    assert [one.name for one in outcome.candidates] == ["00001", "00000", "00002"]
    assert outcome.candidates[0].candidate.random_id == "00000"
    assert verdict(outcome).endswith("00001 is also the best of a random search of equal cost.")
    other = evaluated(*CLEAR, sample=searched([0.5, 0.99], first=2))
    assert "00001 is better than the best of a random search of equal cost, 00002, by 0.4000" in verdict(other)


def test_a_random_search_that_found_nothing_is_told() -> None:
    sample = searched([0.5], status="failed", first=3)
    assert "found no candidate that completed its training" in verdict(evaluated(*CLEAR, sample=sample))


def test_a_candidate_without_all_its_scores_is_left_out_and_named() -> None:
    outcome = evaluated(around(0.7), [0.99, None, 0.99, 0.99, 0.99, 0.99], around(0.5))
    assert [(one.name, one.rank) for one in outcome.candidates] == [("00000", 1), ("00002", 2), ("00001", None)]
    assert verdict(outcome).endswith(
        "00001 is left out: 1 of its 6 trainings did not complete; the first failed: bang."
    )
    alone = evaluated(around(0.7), [None] * 6, [None] * 6)
    assert alone.winner is None
    assert verdict(alone).startswith("Nothing can be compared")


def test_of_several_objectives_the_front_is_told_anew() -> None:
    objectives: dict[str, Direction] = {"val_accuracy": "maximize", "parameters": "minimize"}
    search = searched([0.3, 0.7], [0.2, 0.8], [0.4, 0.9], objectives=objectives)
    outcome = evaluated(*CLEAR, search=search, objectives=objectives)
    assert {one.name: one.on_front for one in outcome.candidates} == {"00000": True, "00001": True, "00002": False}
    assert "By the means of all objectives, beaten by none: 00001 and 00000." in verdict(outcome)


def test_before_its_end_it_says_how_far_it_is() -> None:
    state = planned(RunState.replay(SEARCH))
    end(state, 0, 0.9)
    outcome = outcome_of(state, searched=RunState.replay(SEARCH), sample=None, rungs=None, epochs=2, bounds=(0.0, 1.0))
    said = "Not finished: 1 of 18 trainings have ended; the command that began it continues it."
    assert verdict(outcome) == said
    assert evaluation_json(outcome)["finished"] is False
    assert evaluation_summary(outcome, "here").startswith(
        "evaluation  here\ntrainings   1 of 18 ended: 2 folds, 3 seeds"
    )


def test_it_is_told_in_80_columns_and_to_programs(tmp_path: Path, capsys: Any) -> None:
    from rich.console import Console

    outcome = evaluated(*CLEAR, around(0.6), sample=searched([0.5, 0.99], first=3))
    Console(width=80).print(evaluation_tables(outcome))
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert "random/00000" in shown
    found = json.loads(json.dumps(evaluation_json(outcome)))
    assert [row["name"] for row in found["candidates"]] == ["00001", "00000", "random/00000", "00002"]
    assert len(found["candidates"][0]["scores"]) == 6
    assert found["comparisons"][0]["p_adjusted"] >= found["comparisons"][0]["p"]
    table = candidates_table(outcome).to_pylist()
    assert [row["rank"] for row in table] == [1, 2, 3, 4]
    assert table[0]["low"] < table[0]["mean"] < table[0]["high"]
