"""The regret of a simulated search over time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.search import Searcher

from orchestrator.schedulers import SCHEDULERS
from orchestrator.simulation.answers import Curve
from orchestrator.simulation.controller import Row, simulate
from orchestrator.simulation.regret import Regret

ANSWERS: Any = SimpleNamespace(best=0.9, worst=0.1)


class Numbers(Searcher):
    """Suggests 0, 1, 2, ..."""

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {"x": int(trial_id)}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Learn nothing."""


def regret_of(curves: list[tuple[list[float], float]], workers: int) -> Regret:
    """The regret of a search whose candidates have these scores by epoch, of one second each, and true scores."""

    def evaluate(config: dict[str, Any]) -> Curve:
        scores, final = curves[config["x"]]
        rows = [Row(epoch=epoch, seconds=1.0, metrics={"val_accuracy": s}) for epoch, s in enumerate(scores, start=1)]
        return Curve(rows, final)

    scheduler = SCHEDULERS["fifo"](max_epochs=3)
    return Regret.of(simulate(Numbers(), scheduler, evaluate, workers=workers, trials=len(curves)), ANSWERS)


def test_the_leader_has_most_epochs_then_the_highest_score_and_counts_by_its_true_one() -> None:
    found = regret_of([([0.5, 0.6], 0.7), ([0.9, 0.5], 0.8), ([0.1, 0.7], 0.3)], workers=1)
    assert found.seconds == (0.0, 1.0, 6.0)  # the second candidate never leads: its score at epoch 2 is lower
    assert found.values == pytest.approx((0.8, 0.2, 0.6))
    assert [found.at(moment) for moment in (0.0, 0.99, 1.0, 5.0, 7.0)] == pytest.approx([0.8, 0.8, 0.2, 0.2, 0.6])


def test_reports_of_the_same_moment_change_the_leader_once() -> None:
    found = regret_of([([0.5], 0.7), ([0.6], 0.8)], workers=2)
    assert found.seconds == (0.0, 1.0)
    assert found.values == pytest.approx((0.8, 0.1))


def test_a_target_is_reached_from_when_it_is_never_left_again() -> None:
    left_again = Regret((0.0, 1.0, 2.0, 3.0, 4.0), (0.8, 0.01, 0.3, 0.02, -0.01))
    assert left_again.reached(0.02) == 3.0
    assert left_again.reached(0.01) == 4.0
    assert left_again.reached(-0.5) is None
    assert left_again.reached(0.8) == 0.0
