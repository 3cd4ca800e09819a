"""Tests of Optuna's TPE in a search with several objectives and early stopping."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.samplers import SAMPLERS

SPACE: dict[str, BaseDistribution] = {name: CategoricalDistribution(list("abcd")) for name in ("x", "y", "z")}


def trial(letter: str, values: list[float] | None) -> FrozenTrial:
    state = TrialState.PRUNED if values is None else TrialState.COMPLETE
    return create_trial(state=state, values=values, params=dict.fromkeys(SPACE, letter), distributions=SPACE)


@pytest.mark.parametrize("complete", [[], [trial("a", [0.9, 1.0])]])
def test_the_oldest_pruned_trials_are_not_taken_for_good_ones(complete: list[FrozenTrial]) -> None:
    """All pruned trials are `d`, which Optuna's sampler would propose again and again."""
    study = optuna.create_study(sampler=SAMPLERS["tpe"](seed=0), directions=["maximize", "minimize"])
    study.add_trials([*complete, *[trial("d", None)] * 60])
    asked = [value for _ in range(40) for value in study.ask(SPACE).params.values()]
    assert asked.count("d") < 0.25 * len(asked)
    if complete:
        assert asked.count("a") > 0.4 * len(asked)


def test_with_one_objective_it_is_optunas() -> None:
    def proposals(sampler: optuna.samplers.BaseSampler) -> list[dict[str, str]]:
        study = optuna.create_study(sampler=sampler, direction="maximize")
        for number in range(40):
            asked = study.ask(SPACE)
            asked.report(float(sum(value == "a" for value in asked.params.values())), step=1)
            study.tell(asked, None if number % 3 else 1.0, state=TrialState.PRUNED if number % 3 else None)
        return [one.params for one in study.trials]

    plain = SAMPLERS["random"](seed=3)
    theirs = type(plain)(lambda seed: optuna.samplers.TPESampler(seed=seed, constant_liar=True), seed=3)  # type: ignore[call-arg]
    assert proposals(SAMPLERS["tpe"](seed=3)) == proposals(theirs)
