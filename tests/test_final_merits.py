"""Tests of what is expected of trials at the end of their training."""

from __future__ import annotations

import math
from typing import Literal

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.samplers.final_merits import FinalMerits


def complete(*curve: float) -> FrozenTrial:
    return create_trial(value=curve[-1], intermediate_values=dict(enumerate(curve, start=1)))


def pruned(*curve: float) -> FrozenTrial:
    values = dict(enumerate(curve, start=1))
    return create_trial(state=TrialState.PRUNED, value=curve[-1], intermediate_values=values)


def study(direction: Literal["minimize", "maximize"] = "maximize") -> optuna.Study:
    return optuna.create_study(direction=direction)


COMPLETE = (complete(0.1, 0.3, 0.5), complete(0.2, 0.3, 0.7), complete(0.2, 0.5, 0.5))


def test_a_pruned_trial_has_the_median_gain_of_complete_ones_since_its_last_step() -> None:
    merits = FinalMerits(study(), COMPLETE)
    assert merits.of(COMPLETE[1]) == 0.7
    assert merits.of(pruned(0.4)) == pytest.approx(0.4 + 0.4)  # the gains are 0.4, 0.5 and 0.3
    assert merits.of(pruned(0.4, 0.5)) == pytest.approx(0.5 + 0.2)  # 0.2, 0.4 and 0


def test_if_a_score_is_minimised_less_is_more() -> None:
    merits = FinalMerits(study("minimize"), [complete(5.0, 2.0)])
    assert merits.of(complete(1.0)) > merits.of(complete(2.0))
    assert merits.of(pruned(4.0)) == -1.0


def test_gains_that_are_added_later_count() -> None:
    """Also for a step that was asked for before."""
    merits = FinalMerits(study())
    assert merits.of(pruned(0.4)) == 0.4
    for trial in COMPLETE:
        merits.add(trial)
    assert merits.of(pruned(0.4)) == FinalMerits(study(), COMPLETE).of(pruned(0.4))


def test_the_variance_is_that_of_the_gains() -> None:
    merits = FinalMerits(study(), COMPLETE)
    assert merits.variance_of(COMPLETE[0]) == 0
    assert merits.variance_of(pruned(0.4)) == pytest.approx(0.01)
    assert math.isnan(FinalMerits(study(), COMPLETE[:2]).variance_of(pruned(0.4)))


@pytest.mark.parametrize("trial", [complete(0.1, math.inf), pruned(math.nan)])
def test_scores_that_are_no_numbers_do_not_spread(trial: FrozenTrial) -> None:
    merits = FinalMerits(study(), [*COMPLETE, trial])
    assert merits.of(pruned(0.4)) == pytest.approx(0.8)
    assert merits.of(trial) == (math.inf if trial.state == TrialState.COMPLETE else -math.inf)
