"""Several searches beside each other: groups, means over seeds, tests, and words no stronger than the numbers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import rich
from scipy import stats

from orchestrator.errors import InputError, RunDirectoryError
from orchestrator.objectives import Direction
from orchestrator.record.events import RunResumed
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_info import SettingsChange
from orchestrator.report.comparison.best_so_far import BestSoFar, mean_curve, read_history
from orchestrator.report.comparison.compare import Comparison, compare_runs
from orchestrator.report.comparison.page import write_comparison
from orchestrator.report.comparison.tables import comparison_json, comparison_tables
from orchestrator.report.comparison.verdict import comparison_verdict
from orchestrator.significance import welch
from tests.builders import RUN, at, trial
from tests.confirmed_records import confirm
from tests.searched import DATA, searched


def compared(folder: Path, scores: dict[str, list[float]], **values: Any) -> Comparison:
    """Groups of samplers, each with a run of these bests for each seed."""
    return compare_runs(
        [
            searched(folder / f"{sampler}-{seed}", [best - 0.1, best], seed=seed, sampler=sampler, **values)
            for sampler, bests in scores.items()
            for seed, best in enumerate(bests)
        ]
    )


def test_the_best_so_far_counts_trainings_and_the_time_in_which_the_search_ran() -> None:
    resumed = [
        RunResumed(time=at(1000), slots=2),
        *trial("00009", [0.99], "completed", begin=1000),
    ]
    _, history = read_history([*RUN, *resumed])
    assert (history.by_trials.places, history.by_trials.scores) == ((1, 2, 6), (0.7, 0.8, 0.99))
    assert history.by_trials.end == 6
    assert history.by_seconds.end == 25  # 15 seconds before it stopped, 10 after it went on


def test_the_mean_curve_is_exact_at_each_step_and_ends_with_a_run_that_was_cut_short() -> None:
    whole = BestSoFar((1, 3), (0.5, 0.7), 10, is_finished=True)
    short = BestSoFar((2, 4), (0.4, 0.9), 6, is_finished=False)
    curve = mean_curve([whole, short, BestSoFar((), (), 9, is_finished=False)], None)
    assert curve.places == (2, 3, 4, 6)
    assert [mean.mean for mean in curve.means] == pytest.approx([0.45, 0.55, 0.8, 0.8])
    assert {mean.count for mean in curve.means} == {2}
    assert mean_curve([short, BestSoFar((11,), (0.5,), 12, is_finished=True)], None).places == ()


def test_a_search_that_has_ended_keeps_its_best() -> None:
    """Even where it had ended before another one had a score at all."""
    early = BestSoFar((1, 3), (0.5, 0.7), 4, is_finished=True)
    curve = mean_curve([early, BestSoFar((6,), (0.9,), 12, is_finished=True)], None)
    assert curve.places == (6, 12)
    assert [mean.mean for mean in curve.means] == pytest.approx([0.8, 0.8])


def test_runs_that_differ_in_their_seed_only_are_one_group(tmp_path: Path) -> None:
    found = compared(tmp_path, {"random": [0.80, 0.82, 0.81], "tpe": [0.90, 0.91, 0.92]})
    assert [(group.label, [run.seed for run in group.searches]) for group in found.groups] == [
        ("tpe", [0, 1, 2]),
        ("random", [0, 1, 2]),
    ]
    assert [(one.setting, one.values) for one in found.differences] == [("sampler.name", ("tpe", "random"))]
    best = found.groups[0].best
    assert best is not None
    assert best.mean == pytest.approx(0.91)
    assert found.pairs[0].test.p == pytest.approx(
        stats.ttest_ind([0.90, 0.91, 0.92], [0.80, 0.82, 0.81], equal_var=False).pvalue
    )
    assert comparison_verdict(found).startswith(
        "tpe is ahead: its mean best val_accuracy over 3 seeds is the highest, 0.9100 (95 % interval"
    )
    assert "random is more than chance (Welch's t-test" in comparison_verdict(found)


def test_a_difference_within_chance_is_called_none(tmp_path: Path) -> None:
    found = compared(tmp_path, {"random": [0.80, 0.90, 0.85], "tpe": [0.82, 0.91, 0.86], "gp": [0.3, 0.31, 0.32]})
    assert "No difference found among tpe and random; gp is worse than tpe" in comparison_verdict(found)
    assert len(found.pairs) == 3
    assert all((pair.p_adjusted or 0) >= (pair.test.p or 0) for pair in found.pairs)


def test_scores_that_do_not_vary_are_not_tested(tmp_path: Path, capsys: Any) -> None:
    found = compared(tmp_path, {"random": [0.8] * 3, "tpe": [0.9] * 3})
    assert comparison_verdict(found) == (
        "No difference found among tpe and random (all scores within each group are equal, so chance cannot be "
        "estimated)."
    )
    rich.print(comparison_tables(found))
    write_comparison(found, tmp_path / "page.html")
    assert "tpe - random +0.1000 - - -" in " ".join(capsys.readouterr().out.split())


def test_chance_alone_is_seldom_called_a_difference() -> None:
    """Of groups from one distribution, one in twenty; were the test a fault, this would be far off."""
    draw = random.Random(0)

    def four() -> list[float]:
        return [draw.gauss(0.9, 0.02) for _ in range(4)]

    found = [welch(four(), four()).p for _ in range(1000)]
    assert 0.02 < sum(p is not None and p < 0.05 for p in found) / len(found) < 0.07


def test_two_seeds_are_too_few_to_say(tmp_path: Path) -> None:
    found = compared(tmp_path, {"random": [0.8], "tpe": [0.90, 0.91]})
    assert found.pairs == ()
    assert "Too few seeds for a test: it needs two groups with at least 3 seeds each; tpe has 2" in comparison_verdict(
        found
    )
    assert "random has one seed, so it has no interval" in " ".join(found.notes)


def test_equal_means_are_called_a_tie(tmp_path: Path) -> None:
    found = compared(tmp_path / "few", {"random": [0.8], "tpe": [0.7, 0.9], "gp": [0.5]})
    assert comparison_verdict(found).endswith("random and tpe are tied: the mean best val_accuracy of each is 0.8000.")
    found = compared(tmp_path / "more", {"random": [0.9], "tpe": [0.89, 0.90, 0.91], "gp": [0.7, 0.71, 0.72]})
    assert comparison_verdict(found).endswith("random is not tested: it has 1 seed; a test needs 3.")


def test_the_table_says_what_its_scores_and_times_are(tmp_path: Path, cellscout: Any) -> None:
    ended = cellscout("compare", searched(tmp_path / "a"), searched(tmp_path / "b", sampler="gp"), "-o", tmp_path / "c")
    assert "Best val_accuracy in the search by group" in ended.out
    assert "trials, time: without a confirmation" in ended.out


def test_a_group_with_few_seeds_is_named_beside_those_that_are_tested(tmp_path: Path) -> None:
    found = compared(tmp_path, {"random": [0.8], "tpe": [0.90, 0.91, 0.92], "gp": [0.7, 0.71, 0.72]})
    assert len(found.pairs) == 1
    assert "random is not tested: it has 1 seed; a test needs 3." in comparison_verdict(found)


def test_a_group_is_the_best_of_those_tested_if_another_one_is_better(tmp_path: Path) -> None:
    found = compared(tmp_path, {"random": [0.95, 0.96], "tpe": [0.90, 0.91, 0.92], "gp": [0.7, 0.71, 0.72]})
    said = comparison_verdict(found)
    assert "tpe is ahead: its mean best val_accuracy over 3 seeds is the highest of those tested, 0.9100" in said
    assert "needs 3. Its mean is better than those of the tested groups, which may be luck." in said


def test_settings_that_make_a_comparison_unfair_are_told(tmp_path: Path) -> None:
    longer = searched(tmp_path / "longer", config={"training": {"epochs": 9}, "budget": {"trials": 500}})
    other = searched(tmp_path / "other", config={"space": {"name": "darts"}})
    found = compare_runs([searched(tmp_path / "first"), longer, other])
    notes = " ".join(found.notes)
    for words in ("The spaces differ", "The training settings differ", "The budgets differ"):
        assert words in notes
    assert {one.setting for one in found.differences} == {"space.name", "training.epochs", "budget.trials"}


def test_what_a_run_is_called_and_where_its_data_lie_make_no_group(tmp_path: Path) -> None:
    moved = {"run": {"name": "b", "seed": 1, "storage": "elsewhere"}, "data": {"root": "elsewhere"}}
    runs = [searched(tmp_path / "a"), searched(tmp_path / "b", seed=1, config={**moved, "budget": {"hours": 3}})]
    found = compare_runs(runs)
    assert len(found.groups) == 1
    assert comparison_verdict(found).startswith(
        "The runs differ only in their seeds: the mean best val_accuracy over 2 seeds is"
    )


def test_what_is_said_of_several_objectives_is_about_the_first(tmp_path: Path) -> None:
    objectives: dict[str, Direction] = {"val_accuracy": "maximize", "macs": "minimize", "parameters": "minimize"}
    runs = [searched(tmp_path / name, objectives=objectives, seed=seed) for seed, name in enumerate("ab")]
    said = "are only about the first objective, val_accuracy, not macs and parameters."
    assert said in compare_runs(runs).notes[0]
    assert "objective" not in " ".join(compare_runs([searched(tmp_path / "c"), searched(tmp_path / "d", seed=1)]).notes)


def test_a_run_that_is_not_whole_is_told(tmp_path: Path) -> None:
    running = searched(tmp_path / "b", [], seed=1, state="interrupted")
    notes = " ".join(compare_runs([searched(tmp_path / "a"), running]).notes)
    assert f"{running} has not finished (interrupted); trainings that have ended: 0." in notes
    assert f"{running} has no completed trial, so its group's mean leaves it out." in notes


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"config": {"data": {"name": "mnist"}}}, "data.name is 'digits' in the first and 'mnist' in the second"),
        (
            {"config": {"data": {"validation_fraction": 0.3}}},
            "data.validation_fraction is 0.1 in the first and 0.3 in the second",
        ),
        (
            {"objectives": {"val_loss": "minimize"}},
            "the objective is maximize val_accuracy in the first and",
        ),
        (
            {"score_bounds": (0, 100)},
            "the trainable's score_bounds are (0.0, 1.0) in the first and (0.0, 100.0) in the second",
        ),
        (
            {"data": {**DATA, "sha256": "of seed 0", "train": 399}},
            "the data differ, train is 400 in the first",
        ),
        (
            {"data": {**DATA, "sha256": "other"}},
            "both have the seed 0, but their images or their validation splits differ",
        ),
        ({}, "are the same search with the same seed 0; leave"),
        (
            {"config": {"budget": {"hours": 2}}},
            "with the same seed 0 (budget.hours does not count, because budget.trials is set); leave",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(values: Any, words: str, tmp_path: Path) -> None:
    runs = [searched(tmp_path / "a"), searched(tmp_path / "b", **values)]
    with pytest.raises(InputError) as refused:
        compare_runs(runs)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert all(run in str(refused.value) for run in runs)


def test_one_run_and_one_twice_are_refused(tmp_path: Path) -> None:
    run = searched(tmp_path / "a")
    with pytest.raises(InputError, match="1 run directory is given; a comparison needs at least 2"):
        compare_runs([run])
    with pytest.raises(InputError, match="is given twice"):
        compare_runs([run, f"{run}/"])


def test_a_run_that_did_not_begin_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    RunDirectory.at(tmp_path / "b").write_info(RunDirectory.at(searched(tmp_path / "a")).read_info())
    (tmp_path / "b" / "events.jsonl").touch()
    with pytest.raises(RunDirectoryError, match="did not begin"):
        compare_runs([str(tmp_path / "a"), str(tmp_path / "b")])


def test_a_difference_in_workers_splits_a_group_and_is_told(tmp_path: Path) -> None:
    slots = [searched(tmp_path / str(count), seed=count, slots=count) for count in (1, 8)]
    found = compare_runs(slots)
    assert [(one.setting, one.values) for one in found.differences] == [("resources.slots", (1, 8))]
    assert "The workers differ" in " ".join(found.notes)


def test_a_search_that_changed_its_sampler_is_a_group_of_its_own(tmp_path: Path) -> None:
    change = SettingsChange(time=at(5), settings={"sampler.name": ("random", "tpe"), "budget.trials": (1, 2)})
    found = compare_runs([searched(tmp_path / "a"), searched(tmp_path / "b", changes=[change])])
    assert [group.label for group in found.groups] == ["tpe", "random, then tpe"]


def test_labels_tell_groups_apart(tmp_path: Path) -> None:
    short = [
        searched(tmp_path / str(initial), config={"sampler": {"name": "predictor", "options": {"initial": initial}}})
        for initial in (10, 40)
    ]
    assert [group.label for group in compare_runs(short).groups] == ["initial 10", "initial 40"]
    samplers = [
        searched(tmp_path / "tpe", sampler="tpe"),
        *(searched(tmp_path / f"gp{trials}", sampler="gp", config={"budget": {"trials": trials}}) for trials in (4, 8)),
    ]
    labels = [group.label for group in compare_runs(samplers).groups]
    assert labels == ["tpe, trials 100", "gp, trials 4", "gp, trials 8"]
    long = [
        searched(
            tmp_path / f"long{number}", config={"sampler": {"name": "tpe", "options": {"x": "y" * 50 + str(number)}}}
        )
        for number in (1, 2)
    ]
    assert [group.label for group in compare_runs(long).groups] == ["group A", "group B"]


def test_json_has_all_of_it(tmp_path: Path, cellscout: Any) -> None:
    first, second = searched(tmp_path / "a"), searched(tmp_path / "b", sampler="gp")
    ended = cellscout("compare", first, second, "--json")
    assert ended.status == 0, ended.err
    found = json.loads(ended.out)
    assert found["verdict"].startswith("Too few seeds")
    assert found["differences"] == {"sampler.name": ["tpe", "gp"]}
    assert [group["runs"][0]["run_dir"] for group in found["groups"]] == [first, second]
    assert found["groups"][0]["best"] == {"count": 1, "mean": 0.7, "deviation": None, "interval": None}


def confirmed(place: Path, mean: float, **values: Any) -> str:
    """A search whose best trial, with 0.9, loses to another one, which then has this mean."""
    directory = RunDirectory.at(searched(place, [0.7, 0.9], **values))
    confirm(directory, {"00001": [0.3, 0.4], "00000": [mean - 0.01, mean + 0.01]})
    return str(directory)


def test_runs_that_are_all_confirmed_are_compared_by_the_means_of_their_winners(tmp_path: Path) -> None:
    runs = [
        confirmed(tmp_path / f"{sampler}-{seed}", mean + 0.01 * seed, seed=seed, sampler=sampler)
        for sampler, mean in (("tpe", 0.6), ("gp", 0.8))
        for seed in range(3)
    ]
    unscored = searched(tmp_path / "empty", [], seed=3)
    found = compare_runs([*runs, unscored])
    assert found.score == "confirmed"
    assert [group.label for group in found.groups] == ["gp", "tpe"]
    assert [group.bests for group in found.groups] == [
        pytest.approx([0.8, 0.81, 0.82]),
        pytest.approx([0.6, 0.61, 0.62]),
    ]
    assert "gp is ahead: its mean confirmed val_accuracy over 3 seeds is the highest, 0.8100" in comparison_verdict(
        found
    )
    assert "The scores are confirmed: each is the mean of the new trainings of a run's winner." in found.notes
    (run, *_) = comparison_json(found)["groups"][0]["runs"]
    assert (run["best_trial_id"], run["in_search"]) == ("00000", 0.9)
    assert run["best"] == run["confirmed"] == pytest.approx(0.8)
    first = found.groups[0].searches[0]
    assert first.history.by_trials.scores == (0.7, 0.9)
    assert (first.trained, first.seconds, first.epochs) == (2, 20, 2)


def test_one_run_that_is_not_confirmed_makes_the_scores_those_of_the_searches(tmp_path: Path) -> None:
    runs = [confirmed(tmp_path / "a", 0.6), searched(tmp_path / "b", [0.5, 0.8], seed=1)]
    found = compare_runs(runs)
    assert (found.score, found.groups[0].bests) == ("unconfirmed", [0.9, 0.8])
    assert f"Not all runs are confirmed (1 of 2; not {runs[1]}), so the scores are those of the best" in " ".join(
        found.notes
    )
    (group,) = comparison_json(found)["groups"]
    assert [(run["best_trial_id"], run["confirmed"]) for run in group["runs"]] == [
        ("00001", pytest.approx(0.6)),
        ("00001", None),
    ]


def test_the_time_of_a_search_that_goes_on_after_its_confirmation_leaves_that_out(tmp_path: Path) -> None:
    directory = RunDirectory.at(confirmed(tmp_path / "a", 0.6))
    more = [RunResumed(time=at(1000), slots=2), *trial("00002", [0.99], "completed", begin=1000)]
    _, history = read_history([*RecordedRun.read(directory).events(), *more])
    assert (history.by_trials.places, history.by_trials.end) == ((1, 2, 3), 3)
    assert history.by_seconds.end == 30
