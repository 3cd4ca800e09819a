"""The confirmation of a search's winner: its candidates, its race, and what the scores say. No Ray."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from optuna.samplers import RandomSampler

from orchestrator.config.search_config import ConfirmationSettings
from orchestrator.confirmation.choice import Noise, best_candidates, estimate, noise_of, plan_confirmation
from orchestrator.confirmation.comparison import compare
from orchestrator.confirmation.posterior import true_scores
from orchestrator.confirmation.race import Race
from orchestrator.objectives import accuracy_error
from orchestrator.record.events import CandidatesCompared, Event, TrialEnded
from orchestrator.record.run_state import RunState
from orchestrator.samplers.history import TRAININGS
from orchestrator.study.live_study import LiveStudy, count_known_when_asked
from orchestrator.study.replay import rebuild_study
from tests.builders import info, trial
from tests.confirmed import begun, planned, repeated, search_of

SCORES = {"00000": 0.5, "00001": 0.9, "00002": 0.8, "00003": 0.85, "00004": 0.2, "00005": 0.3}
"""Of a search with six seconds of training."""
BEST_THREE = ["00001", "00003", "00002"]


def state_after(*parts: Sequence[Event]) -> RunState:
    return RunState.replay(event for part in parts for event in part)


def compared(state: RunState, validation: int = 100) -> CandidatesCompared:
    found = compare(state, info(data={"validation": validation}))
    assert found is not None
    return found


def next_of(state: RunState) -> tuple[str, int] | None:
    found = Race(state).next_training()
    return None if found is None else (found[0].trial_id, found[1])


def race_of(*repeats: Sequence[Event], share: float = 4.0, trainings: int = 3, candidates: int = 3) -> RunState:
    """The state of a search of `SCORES` after these new trainings, compared if they can be."""
    search = search_of(SCORES)
    state = state_after(search, [planned(search, candidates=candidates, share=share, trainings=trainings)], *repeats)
    found = compare(state, info())
    if found is not None:
        state.apply(found)
    return state


def round_of(number: int, **scores: float) -> list[Event]:
    """A round: the new scores of the best, the second and the third candidate."""
    names = dict(zip(("first", "second", "third"), BEST_THREE, strict=True))
    return [event for name, score in scores.items() for event in repeated(names[name], number, score)]


# The choice of the candidates.


@pytest.mark.parametrize(("share", "candidates"), [(0.7, 2), (1.0, 3), (4.0, 5)])
def test_so_many_candidates_are_planned_as_can_be_trained_twice_in_the_share(share: float, candidates: int) -> None:
    plan = planned(search_of(SCORES), share=share)
    assert plan.candidates == [*BEST_THREE, "00000", "00005"][:candidates]
    assert plan.train_seconds == pytest.approx(6 * share)
    assert plan.trained == 6


def test_nothing_is_planned_without_a_reason_why() -> None:
    too_little = reason(search_of(SCORES))
    assert "share = 0.6 of the training time of the search is too little" in too_little
    needed = float(too_little.rpartition("--set confirmation.share=")[2])
    assert len(planned(search_of(SCORES), share=needed).candidates) == 2
    assert reason(search_of({})) == "no trial has completed its training"
    assert reason(search_of(SCORES, macs="minimize"), share=4) == "no objective depends on the training"
    assert reason(search_of(SCORES), candidates=0) == "confirmation.candidates is 0"


def reason(search: Sequence[Event], **settings: float) -> str:
    found = plan_confirmation(state_after(search), ConfirmationSettings.model_validate(settings), info())
    assert isinstance(found, str)
    return found


def test_an_only_candidate_is_confirmed_too() -> None:
    assert planned(search_of(SCORES), share=2, candidates=1).candidates == ["00001"]
    assert planned(search_of({"00000": 0.5}), share=2).candidates == ["00000"]


def test_with_several_objectives_the_front_is_planned() -> None:
    search = search_of(SCORES, val_accuracy="maximize", parameters="minimize")
    assert sorted(planned(search, share=10).candidates) == ["00000", "00001"]  # later trials are larger


def test_a_plan_stays_until_the_search_or_the_settings_change() -> None:
    search = search_of(SCORES)
    first = planned(search, share=1)
    state = state_after(search, [first], repeated("00001", 1, 0.1))
    settings = ConfirmationSettings(share=1)
    assert plan_confirmation(state, settings, info()) is first
    assert plan_confirmation(state, ConfirmationSettings(share=2), info()) is not first


def test_estimates_are_drawn_together_by_the_noise() -> None:
    state = state_after(search_of({"00000": 0.5, "00001": 0.7, "00002": 0.9}))
    trials = list(state.trials.values())
    # The variance of the scores is 0.04, of which 0.01 is noise.
    found = estimate(state, trials, Noise(0.1, "repeats"), "val_accuracy")
    assert found == pytest.approx({"00000": 0.55, "00001": 0.7, "00002": 0.85})
    assert estimate(state, trials, Noise(0.9, "repeats"), "val_accuracy") == pytest.approx(dict.fromkeys(found, 0.7))


def test_a_lucky_score_gives_way_to_a_slightly_lower_mean_of_several() -> None:
    state = state_after(search_of(SCORES), [e for n in range(1, 5) for e in repeated("00003", n, 0.89)])
    assert [one.trial_id for one in best_candidates(state, Noise(None, None))][:2] == ["00001", "00003"]
    assert [one.trial_id for one in best_candidates(state, Noise(0.1, "repeats"))][:2] == ["00003", "00001"]


def test_the_noise_is_from_the_images_until_there_are_repeats() -> None:
    search = search_of(SCORES)
    assert noise_of(state_after(search), info()) == Noise(accuracy_error(0.9, 100, (0, 1)), "validation_images")
    assert noise_of(state_after(search), info(score_bounds=None)) == Noise(None, None)
    few = [event for number in range(1, 4) for event in repeated("00001", number, 0.8 + number / 100)]
    assert noise_of(state_after(search, few), info()).source == "validation_images"
    more = [event for number in range(1, 4) for event in repeated("00003", number, 0.7 + number / 50)]
    found = noise_of(state_after(search, few, more), info())
    assert found.source == "repeats"
    assert found.deviation == pytest.approx(math.sqrt((0.01**2 + 0.02**2) / 2))


# The race.


def test_all_candidates_are_trained_with_one_seed_before_the_next_seed() -> None:
    rounds = [round_of(1, first=0.8, second=0.8, third=0.8), round_of(2, first=0.8, second=0.8, third=0.8)]
    assert next_of(race_of()) == ("00001", 1)
    assert next_of(race_of(begun("00001", 1))) == ("00003", 1)
    assert next_of(race_of(rounds[0][:8])) == ("00002", 1)
    assert next_of(race_of(rounds[0])) == ("00001", 2)
    assert next_of(race_of(*rounds, trainings=2)) is None


def test_a_round_starts_only_if_its_share_suffices_for_all() -> None:
    rounds = round_of(1, first=0.8, second=0.8, third=0.8) + round_of(2, first=0.8, second=0.8, third=0.8)
    assert next_of(race_of(rounds, share=1.4)) is None
    assert next_of(race_of(rounds, share=1.5)) == ("00001", 3)
    assert Race(race_of(rounds, share=1.4)).expected_trainings() == 6
    assert Race(race_of(rounds, share=1.5)).expected_trainings() == 9
    assert next_of(race_of(rounds, begun("00001", 3), share=1.5)) == ("00003", 3)
    assert Race(race_of(rounds, begun("00001", 3), share=1.5)).expected_trainings() == 9


def test_the_expected_trainings_count_the_rounds_that_fewer_candidates_could_have() -> None:
    """The time is for eight trainings. Three rounds of all three do not fit, but a third and a fourth of one do."""
    assert Race(race_of(share=1.4, trainings=5)).expected_trainings() == 8
    assert Race(race_of(share=9.0, trainings=5)).expected_trainings() == 15
    last = round_of(1, first=0.8, second=0.8, third=0.8) + round_of(2, first=0.8, second=0.8, third=0.8)[:-1]
    assert Race(race_of(last, share=1.4, trainings=5)).expected_trainings() == 8  # one of them may still drop out


def test_the_most_trainings_do_not_depend_on_the_time_they_take() -> None:
    fast = [event for number in (1, 2) for name in BEST_THREE for event in repeated(name, number, 0.8, seconds=0.1)]
    before, after = Race(race_of(share=1.0)), Race(race_of(fast, share=1.0))
    assert (before.most_trainings(), after.most_trainings()) == (9, 9)
    assert before.expected_trainings() < after.expected_trainings() <= 9


def test_the_most_trainings_count_those_that_an_earlier_confirmation_had() -> None:
    earlier = [event for number in (1, 2, 3) for event in repeated("00001", number, 0.8)]
    race = Race(race_of(earlier, trainings=2))
    assert (race.most_trainings(), race.expected_trainings()) == (7, 7)


def test_if_all_candidates_are_out_only_the_running_trainings_are_left() -> None:
    """Workers may train a second round while trainings of the first are running; these then fail."""
    failed = [event for name in BEST_THREE for event in repeated(name, 1, 0.8, "failed")]
    state = race_of(begun("00001", 2), failed)
    assert Race(state).expected_trainings() == 4


def test_the_second_round_starts_even_if_the_first_took_longer_than_expected() -> None:
    """The plan chose as many candidates as fit twice into the share; with one new training each nothing is compared."""
    late = [event for name in BEST_THREE for event in repeated(name, 1, 0.8, seconds=1.01)]
    state = race_of(late, share=1.0)
    assert next_of(state) == ("00001", 2)
    assert Race(state).expected_trainings() == 6
    both = [*late, *(event for name in BEST_THREE for event in repeated(name, 2, 0.8, seconds=1.01))]
    assert Race(race_of(both, share=1.0)).ending() == "seconds"
    assert race_of(both, share=1.0).confirmed is not None


def test_a_candidate_that_cannot_be_the_best_is_left_out() -> None:
    state = race_of(
        round_of(1, first=0.90, second=0.89, third=0.40), round_of(2, first=0.88, second=0.90, third=0.41), trainings=4
    )
    assert state.compared is not None
    assert [(one.trial_id, one.in_doubt) for one in state.compared.candidates][2] == ("00002", False)
    assert Race(state).expected_trainings() == 10
    assert next_of(state) == ("00001", 3)
    assert next_of(state_after(events_of(state, round_of(3, first=0.9)))) == ("00003", 3)


def events_of(state: RunState, more: Sequence[Event]) -> list[Event]:
    """Search, plan, two rounds, their comparison, and more."""
    search = search_of(SCORES)
    rounds = [
        *round_of(1, first=0.90, second=0.89, third=0.40),
        *round_of(2, first=0.88, second=0.90, third=0.41),
    ]
    assert state.compared is not None
    return [*search, planned(search, candidates=3, share=4, trainings=4), *rounds, state.compared, *more]


def test_the_race_ends_once_the_leader_is_clear() -> None:
    state = race_of(round_of(1, first=0.90, second=0.40, third=0.41), round_of(2, first=0.91, second=0.39, third=0.40))
    assert next_of(state) is None
    assert Race(state).expected_trainings() == 6
    assert state.winner is state.trials["00001"]


def test_a_candidate_whose_new_training_diverges_is_out() -> None:
    state = race_of(
        repeated("00001", 1, 0.9, "diverged"),
        [event for number in (1, 2) for name in ("00003", "00002") for event in repeated(name, number, 0.8)],
    )
    assert state.compared is not None
    out = state.compared.candidates[-1]
    assert (out.trial_id, out.scores, out.problem) == ("00001", {}, "diverged with seed 1: bang")
    assert state.winner is not state.trials["00001"]
    assert next_of(state) == ("00003", 3)


def test_the_last_candidate_that_did_not_fail_is_trained_until_it_can_be_the_winner() -> None:
    failed = [*repeated("00001", 1, 0.9, "diverged"), *repeated("00002", 1, 0.8, "failed")]
    once = repeated("00003", 1, 0.8)
    for state in (race_of(once, failed), race_of(once, failed, share=1.0)):
        assert next_of(state) == ("00003", 2)
        assert Race(state).expected_trainings() == 4
    running = race_of(once, failed, begun("00003", 2))
    assert (next_of(running), Race(running).expected_trainings()) == (None, 4)
    state = race_of(once, failed, repeated("00003", 2, 0.7))
    assert Race(state).ending() == "clear"
    assert state.winner is state.trials["00003"]


# What the scores say.


def test_nothing_is_compared_before_each_candidate_has_two_new_scores() -> None:
    state = race_of(round_of(1, first=0.9, second=0.8, third=0.8), round_of(2, first=0.9, second=0.8))
    assert state.compared is None
    assert state.winner is state.best


def test_the_winner_is_named_with_its_mean_its_interval_and_its_rivals() -> None:
    state = race_of(round_of(1, first=0.80, second=0.86, third=0.60), round_of(2, first=0.85, second=0.84, third=0.62))
    found = compared(state)
    winner = found.winner
    assert (winner.trial_id, winner.trainings) == ("00003", 2)
    score = winner.scores["val_accuracy"]
    assert score.mean == pytest.approx(0.85)
    assert score.interval is not None
    assert score.interval[0] < 0.84 < 0.86 < score.interval[1]
    assert [rival.trial_id for rival in found.rivals] == ["00001"]
    assert sum(one.chance for one in found.candidates) == pytest.approx(1)


def test_intervals_end_at_the_bounds_of_the_score() -> None:
    state = race_of(round_of(1, first=1.0, second=1.0, third=0.99), round_of(2, first=1.0, second=1.0, third=0.98))
    for one in compared(state).candidates:
        interval = one.scores["val_accuracy"].interval
        assert interval is not None
        assert interval[0] < interval[1] <= 1.0


def test_with_several_objectives_the_front_of_the_means_is_confirmed() -> None:
    search = search_of({"00000": 0.5, "00001": 0.9, "00002": 0.92}, val_accuracy="maximize", parameters="minimize")
    plan = planned(search, share=10, trainings=3)
    assert len(plan.candidates) == 3
    rounds = [
        event
        for number in (1, 2, 3)
        for name, score in (("00000", 0.5), ("00001", 0.92), ("00002", 0.60))
        for event in repeated(name, number, score + number / 1000)
    ]
    found = compared(state_after(search, [plan], rounds))
    standing = {one.trial_id: (one.on_front, one.in_doubt) for one in found.candidates}
    assert standing == {"00001": (True, True), "00000": (True, True), "00002": (False, False)}
    assert found.winner.trial_id == "00001"  # best in the first objective
    assert found.winner.scores["parameters"].interval is None
    assert next_of(state_after(search, [plan], rounds, [found])) is None
    assert next_of(state_after(search, [plan], rounds[:24], [found])) == ("00002", 3)  # nobody is left out


def test_a_confirmation_counts_until_the_search_goes_on() -> None:
    state = race_of(round_of(1, first=0.80, second=0.84, third=0.60), round_of(2, first=0.82, second=0.86, third=0.62))
    assert state.confirmed is state.compared is not None
    assert state.winner is state.trials["00003"]
    assert state.ranking()[:3] == [state.trials[name] for name in ("00003", "00001", "00002")]
    for event in trial("00006", [0.1], "completed"):
        state.apply(event)
    assert state.confirmed is None
    assert state.winner is state.trials["00001"]
    assert [one.trial_id for one in state.ranking()[:3]] == BEST_THREE


def test_a_search_that_goes_on_learns_the_means_of_the_repeated_trainings() -> None:
    search = search_of(SCORES)
    events = [*search, planned(search, share=4), *repeated("00001", 1, 0.6), *repeated("00001", 2, 0.6)]
    assert count_known_when_asked(events) == len(events)
    study = rebuild_study(RunState.replay(events))
    assert study.trials[1].value == pytest.approx(0.7)
    assert study.trials[1].user_attrs[TRAININGS] == 3
    assert study.trials[2].value == pytest.approx(0.8)
    assert TRAININGS not in study.trials[2].user_attrs
    again = [trial("00006", [], "running")[0], TrialEnded(trial_id="00006", status="duplicate", duplicate_of="00001")]
    duplicate = rebuild_study(RunState.replay([*events, *again])).trials[6]
    assert duplicate.value == pytest.approx(0.7)
    assert duplicate.user_attrs[TRAININGS] == 3


def test_a_study_passes_over_trainings_that_follow_a_duplicate_of_an_exhausted_search() -> None:
    """Such a search is resumed in its confirmation: it proposes a duplicate, and the plan stays."""
    search = search_of(SCORES)
    suggested = trial("00006", [], "running")[0]
    duplicate = TrialEnded(trial_id="00006", status="duplicate", duplicate_of="00001")
    events = [*search, planned(search, share=4), suggested, duplicate, *repeated("00001", 1, 0.6)]
    known = count_known_when_asked(events)
    assert events[known - 1] is suggested
    state = RunState.replay(events[:known])
    study = LiveStudy(RandomSampler(seed=0), state, {})
    for event in events[known:]:
        state.apply(event)
        study.apply(event)
    assert state.repeats["00001_1"].status == "completed"


# The model.


def test_the_model_agrees_with_students_interval_where_both_apply() -> None:
    """Many scores of candidates that are far apart: nothing is drawn together, and the variances are known well."""
    generator = np.random.default_rng(5)
    table = np.array([[0.0], [100.0]]) + generator.standard_normal((2, 40))
    draws = true_scores({name: dict(enumerate(row)) for name, row in zip("ab", table, strict=True)}, None)
    assert draws.mean(0) == pytest.approx(table.mean(1), abs=0.05)
    assert draws.std(0) == pytest.approx(table.std(1) / math.sqrt(40), rel=0.15)


def test_a_seed_that_is_good_for_all_says_nothing_about_one() -> None:
    """The second candidate has no score with the good seed, so its lower mean is no sign of a lower true score."""
    scores = {
        "a": {1: 0.70, 2: 0.71, 3: 0.90},
        "b": {1: 0.70, 2: 0.71},
        "c": {1: 0.60, 2: 0.61, 3: 0.80},
    }
    means = true_scores(scores, None).mean(0)
    assert means[0] == pytest.approx(means[1], abs=0.02)
    assert means[0] - means[2] == pytest.approx(0.1, abs=0.02)


def test_scores_that_are_all_equal_leave_the_expected_noise() -> None:
    draws = true_scores({"a": {1: 0.98, 2: 0.98}, "b": {1: 0.98, 2: 0.98}}, 0.008)
    assert draws.mean(0) == pytest.approx([0.98, 0.98], abs=1e-3)
    assert all(0.002 < one < 0.01 for one in draws.std(0))
