"""What an evaluation concludes and how it says so; without Ray, by events as the recorder writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.evaluation.outcome import outcome_of
from orchestrator.evaluation.tables import candidates_table, evaluation_json, evaluation_summary, evaluation_tables
from orchestrator.evaluation.verdict import verdict
from orchestrator.objectives import Direction
from orchestrator.record.run_state import RunState
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
    level = evaluated([0.90, 0.80, 0.91, 0.85], [0.85, 0.88, 0.86, 0.90], [0.1, 0.1, 0.1, 0.1])
    assert verdict(level) == "No difference found among 00001 and 00000; 1 other is worse than 00001."
    same = evaluated(*([around(0.9)] * 3))
    assert verdict(same) == "No difference found among 00000, 00001 and 00002."


def test_being_picked_as_the_best_of_equals_is_no_difference() -> None:
    """Candidates that are equal: the highest of six means is called better than one of the others, or than the best of
    the random search, no more often than chance may."""
    generator = np.random.default_rng(0)
    searches, overlap = 400, 1 / 2  # of two folds, as Nadeau and Bengio take it
    search = searched(*[[0.5, 0.5]] * 5)
    sample = searched([0.5, 0.5], first=5)
    worse = better = 0
    for _ in range(searches):
        noise = generator.normal(size=(6, 4)) * (1 - overlap) ** 0.5 + generator.normal(size=(6, 1)) * overlap**0.5
        outcome = evaluated(*(0.5 + 0.01 * noise).tolist(), search=search, sample=sample)
        worse += any(one.p_adjusted < 0.05 for one in outcome.comparisons)
        against = outcome.against_sampled
        better += against is not None and against.p_adjusted < 0.05 and against.test.difference > 0
    assert 0 < worse < 0.05 * searches
    assert 0 < better < 0.05 * searches


def test_a_loss_is_better_when_it_is_lower() -> None:
    objectives: dict[str, Direction] = {"train_loss": "minimize"}
    search = searched([0.5, 0.9], [0.5, 0.8], objectives=objectives)
    outcome = evaluated(around(0.9), around(0.8), search=search, objectives=objectives)
    assert (outcome.metric, outcome.direction) == ("train_loss", "minimize")
    assert outcome.candidates[0].spread is not None
    assert "No difference found" in verdict(outcome)  # all losses of these events are 1


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
    outcome = evaluated(*CLEAR, around(score), sample=sample)
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
    outcome = evaluated(around(0.7), [0.99, None, 0.99, 0.99], around(0.5))
    assert [(one.name, one.rank) for one in outcome.candidates] == [("00000", 1), ("00002", 2), ("00001", None)]
    assert verdict(outcome).endswith(
        "00001 is left out: 1 of its 4 trainings did not complete; the first failed: bang."
    )
    alone = evaluated(around(0.7), [None] * 4, [None] * 4)
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
    assert verdict(outcome) == "Not finished: 1 of 12 trainings have ended."
    assert evaluation_json(outcome)["finished"] is False
    assert evaluation_summary(outcome, "here").startswith(
        "evaluation  here\ntrainings   1 of 12 ended: 2 folds, 2 seeds"
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
    assert len(found["candidates"][0]["scores"]) == 4
    assert found["comparisons"][0]["p_adjusted"] >= found["comparisons"][0]["p"]
    table = candidates_table(outcome).to_pylist()
    assert [row["rank"] for row in table] == [1, 2, 3, 4]
    assert table[0]["low"] < table[0]["mean"] < table[0]["high"]
