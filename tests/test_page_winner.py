"""What the page says of the best trials: its verdict, and the commands that name and retrain each."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InputError, RunDirectoryError
from orchestrator.networks.retraining.networks import networks_of, recipe_of
from orchestrator.networks.retraining.settings import RetrainSettings
from orchestrator.progress import format_estimate
from orchestrator.record.lookup import find_network, title_of
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.report.page.content import Content, content_of
from orchestrator.report.page.next_steps import SIZES, full_size
from orchestrator.report.page.record import PageRecord
from orchestrator.report.page.summary import summary_of
from tests.builders import RUN, STARTED, info, trial, write
from tests.made_up import made_up
from tests.pages import evaluation, keep_best, page_of
from trainables.network_spec import NetworkSpec


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Of 120 trials; nobody may write into it."""
    return made_up(tmp_path_factory.mktemp("run") / "run", 120)


@pytest.fixture(scope="module")
def content(run: RunDirectory) -> Content:
    return content_of(PageRecord.read(RecordedRun.of_search(run)))


def test_a_best_that_may_be_a_guess_is_doubted_before_anything_else(tmp_path: Path, cellscout: Any) -> None:
    facts = {"validation": 400, "largest_class": 0.95, "classes": ["zero", "one"]}
    directory = made_up(tmp_path / "run", 30, data=facts)
    first, second, *_ = content_of(PageRecord.read(RecordedRun.of_search(directory))).summary.verdict
    assert first.startswith("No trial is clearly better than guessing: the best has 0.")
    assert second.startswith("Trial ")
    for command in ("status", "report"):
        assert cellscout(command, "run").out.startswith("doubt       no trial is clearly better than guessing: ")
        assert (
            "always guessing the largest class has 0.9500"
            in json.loads(cellscout(command, "run", "--json").out)["doubt"]
        )


def test_without_an_evaluation_the_best_is_called_no_proof(content: Content, run: RunDirectory) -> None:
    state, summary = RecordedRun.read(run).state(), content.summary
    assert state.best is not None
    assert summary.winner == state.best.trial_id
    text = " ".join(summary.verdict)
    score = state.best.val_accuracy or 0
    assert f"Trial {state.best.trial_id} leads after its whole training of 9 epochs: {score:.4f}" in text
    error = float(re.findall(r"on 400 validation images is (0\.\d+)", text)[0])
    assert error == pytest.approx((score * (1 - score) / 400) ** 0.5, rel=0.05)
    others = sorted(
        (score - (one.val_accuracy or 0), one.trial_id)
        for one in state.trials.values()
        if one.status == "completed" and one is not state.best
    )
    margin, second = others[0]
    assert f"The runner-up, {second}, is {margin:.4f} behind" in text
    of_difference = float(re.findall(r"such a difference is about (0\.\d+)", text)[0])
    other = score - margin
    assert of_difference == pytest.approx((error**2 + other * (1 - other) / 400) ** 0.5, rel=0.05)
    level = sum(gap < 2 * of_difference for gap, _ in others)
    assert level > 1, "or the sentence is another"
    assert f"cannot tell them apart: {level} other trials are less than two such errors behind" in text
    assert "not a proof that the trial is the best" in text
    assert not summary.tested
    assert summary.evaluate == f"cellscout evaluate {run.location} --top 2 --folds 5"
    candidates = [one for one in state.ranking() if one.status == "completed"][:2]
    seconds = state.active_seconds() + 5 * sum(one.train_seconds for one in candidates) / 2  # 15 on 3 slots
    said = f"a random search of equal cost and at most 15 trainings, about {format_estimate(seconds)}"
    assert summary.evaluation_cost == said
    trained = [one for one in state.trials.values() if one.attempt > 0]
    assert summary.facts["trainings"].startswith(f"{len(trained)}, ")
    assert summary.facts["epochs"] == str(sum(one.epochs for one in trained))


@pytest.mark.parametrize("is_winner_of_the_search", [True, False])
def test_an_evaluation_gives_the_verdict(tmp_path: Path, is_winner_of_the_search: bool) -> None:
    directory = made_up(tmp_path / "run", 40)
    keep_best(directory)
    first, second = [one.trial_id for one in RecordedRun.read(directory).state().ranking()[:2]]
    winner, other = (first, second) if is_winner_of_the_search else (second, first)
    result = evaluation(winner, {other: 0.02}, trials=RecordedRun.read(directory).state().trained)
    directory.folder.write("evaluation/evaluation.json", result.encode())
    content = content_of(PageRecord.read(RecordedRun.of_search(directory)))
    summary = content.summary
    assert (summary.tested, summary.winner, summary.evaluate) == (True, winner, None)
    text = " ".join(summary.verdict)
    assert f"The winner is {winner}" in text
    assert (
        f"Its difference from the runner-up, {other}, is +0.0125 (95 % interval +0.0020 to +0.0230; p = 0.0200)" in text
    )
    assert "best of the random search of equal cost, random/00007, is +0.0125" in text
    assert text.endswith("With --seeds 3 the intervals would be about 40 % narrower.")
    assert (
        "of 0.9000 over 6 trainings (3 folds, 2 seeds); its 95 % interval, which allows for the choice of the winner, "
        "is 0.8800 to 0.9200."
    ) in text
    assert summary.retrain is not None
    assert "--architecture" not in summary.retrain
    assert f"#{other}" in content.leaderboard.opened[other]["commands"]["Retrain it"]


def test_what_cannot_be_tested_has_no_p(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 40)
    state = RecordedRun.read(directory).state()
    first, second = [one.trial_id for one in state.ranking()[:2]]
    result = json.loads(evaluation(first, {second: 0.02}, trials=state.trained))
    result["candidates"][0]["interval"] = None
    result["comparisons"][0] |= {"interval": None, "t": None, "p": None, "p_adjusted": None}
    directory.folder.write("evaluation/evaluation.json", json.dumps(result).encode())
    text = " ".join(content_of(PageRecord.read(RecordedRun.of_search(directory))).summary.verdict)
    assert f"the runner-up, {second}, is +0.0125 in every training, so it cannot be tested." in text
    assert "over 6 trainings (3 folds, 2 seeds); all its scores are equal, so it has no interval." in text


def test_an_evaluation_of_the_first_trials_does_not_name_the_winner_of_all(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 40)
    state = RecordedRun.read(directory).state()
    first, second = [one.trial_id for one in state.ranking()[:2]]
    result = evaluation(second, {first: 0.02}, trials=state.trained - 5)
    directory.folder.write("evaluation/evaluation.json", result.encode())
    summary = content_of(PageRecord.read(RecordedRun.of_search(directory))).summary
    assert (summary.winner, summary.tested, summary.evaluate) == (first, False, None)
    text = summary.verdict[-1]
    assert text.startswith(f"The search has gone on since its evaluation, which was of the first {state.trained - 5} t")
    assert f"The winner is {second}" in text


def test_an_evaluation_that_is_unfinished_or_spoilt_is_told(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 12)
    unfinished = evaluation(None, {}, finished=False, trainings={"ended": 2, "planned": 6})
    directory.folder.write("evaluation/evaluation.json", unfinished.encode())
    summary = content_of(PageRecord.read(RecordedRun.of_search(directory))).summary
    assert not summary.tested
    said = "An evaluation is unfinished: 2 of 6 trainings have ended; the command that began it continues it."
    assert said in summary.verdict
    directory.folder.write("evaluation/evaluation.json", b"{}")
    with pytest.raises(RunDirectoryError, match=r"evaluation.json is malformed"):
        PageRecord.read(RecordedRun.of_search(directory))


@pytest.mark.parametrize(
    ("state", "sample", "said"),
    [
        ("interrupted", "interrupted", "interrupted in its random search; the command that began it continues it"),
        ("failed", "completed", "failed without a result yet; the command that began it continues it"),
    ],
)
def test_an_evaluation_without_a_result_is_told(
    state: str, sample: str, said: str, tmp_path: Path, cellscout: Any
) -> None:
    directory = made_up(tmp_path / "run", 12)
    for inside, standing in (("evaluation", state), ("evaluation/random", sample)):
        RunDirectory.at(tmp_path / "run" / inside).create(info(state=standing))
        write(RunDirectory.at(tmp_path / "run" / inside), RUN)
    assert f"evaluation  {said}\n" in cellscout("status", str(directory)).out
    summary = content_of(PageRecord.read(RecordedRun.of_search(directory))).summary
    assert f"Evaluation: {said}." in summary.verdict


def test_each_opened_row_has_a_command_that_retrains_it(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "a run", 30)
    state, best = RecordedRun.read(directory).state(), keep_best(directory)
    content = content_of(PageRecord.read(RecordedRun.of_search(directory)))
    rows = content.leaderboard.rows
    assert [row.trial_id for row in rows] == [one.trial_id for one in state.ranking()]
    assert all(len(row.values) == len(content.leaderboard.columns) for row in rows)
    size = PageRecord.read(RecordedRun.of_search(directory)).full_size
    assert size is not None
    commands = {trial_id: one["commands"]["Retrain it"] for trial_id, one in content.leaderboard.opened.items()}
    assert content.summary.retrain == commands[rows[0].trial_id]
    for row in rows:
        program, command, run_dir, *words = shlex.split(commands[row.trial_id])
        assert (program, command, run_dir) == ("cellscout", "retrain", directory.location)
        options = dict(zip(words[::2], words[1::2], strict=True))
        assert ("--architecture" not in options) == (row.trial_id == best)
        architecture = options.get("--architecture")
        settings = RetrainSettings(
            architecture=architecture, repeats=int(options["--repeats"]), filters=int(options["--filters"])
        )
        search = RecordedRun.of_ended_search(run_dir)
        (network,) = networks_of(search, settings, recipe_of(settings, search.config)).values()
        assert isinstance(network, NetworkSpec)
        assert (network.repeats, network.filters, network.image_size) == (size.repeats, size.filters, (8, 8))
        if architecture is not None:
            assert network.architecture.to_json() == state.trials[row.trial_id].architecture


def test_the_suggested_size_fits_the_time_that_the_search_took(tmp_path: Path) -> None:
    """The winner took 18 s with N = 1 and F = 8: (3 + 2) * 8^2 = 320 units. There are 1.4 times as many images."""
    directory = made_up(tmp_path / "run", 30)
    record = PageRecord.read(RecordedRun.of_search(directory))
    winner = record.state.best
    assert winner is not None
    assert winner.train_seconds == pytest.approx(18)

    def unit(repeats: int, filters: int) -> float:
        return 18 * 1.4 * (3 * repeats + 2) * filters**2 / 320

    limit = sum(trial.train_seconds for trial in record.state.trials.values())
    assert unit(2, 8) < limit < unit(6, 32)
    size = record.full_size
    assert size is not None
    assert size.seconds is not None
    assert size.seconds == pytest.approx(unit(size.repeats, size.filters))
    larger = SIZES[: SIZES.index((size.repeats, size.filters))]
    assert size.seconds <= limit < min(unit(*other) for other in larger)
    told = summary_of(record).full_size
    assert f"(N = {size.repeats}, F = {size.filters}; in the search N = 1, F = 8)" in told
    assert f"tests it once: 1 training of 9 epochs, about {format_estimate(size.seconds)}" in told


def test_a_search_without_times_or_of_large_networks_has_a_size_too() -> None:
    state = RunState.replay([STARTED, *trial("00000", [0.5], "completed")])
    large = info(config={"network": {"repeats": 8, "filters": 64}})
    found = full_size(state.trials["00000"], state, large)
    assert (found.repeats, found.filters, found.epochs) == (8, 64, None)
    assert found.cost.startswith("1 training, about ")
    imported = replace(state.trials["00000"], curve=[])
    assert full_size(imported, state, info()).cost == "1 training"


def test_while_a_search_runs_nothing_can_be_retrained(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 12, state="running", host="elsewhere")
    keep_best(directory)
    content = content_of(PageRecord.read(RecordedRun.of_search(directory)))
    assert content.refreshing
    assert content.summary.winner is not None
    assert (content.summary.retrain, content.summary.evaluate, content.summary.resume) == (None, None, None)
    assert not [one for one in content.leaderboard.opened.values() if "Retrain it" in one["commands"]]
    buttons = page_of(directory).all("button")
    assert [one for one in buttons if "data-copy" in one]
    assert not [one for one in buttons if "cellscout retrain" in (one.get("data-copy") or "")]


def test_a_trial_is_named_by_its_run_and_its_number(tmp_path: Path, cellscout: Any) -> None:
    directory = made_up(tmp_path / "a run", 12)
    keep_best(directory)
    other = RecordedRun.read(directory).state().trials["00003"]
    assert find_network(f"{directory.location}#00003").architecture.to_json() == other.architecture
    assert find_network(f"{directory.location}#3") == find_network(f"{directory.location}#00003")
    assert title_of(f"{directory.location}#00003") == "a run#00003"
    assert title_of("s3://bucket/run?region=x#00003") == "run#00003"
    with pytest.raises(InputError, match="has no trial '99999'"):
        find_network(f"{directory.location}#99999")
    with pytest.raises(InputError, match="not a published cell, a file or a run directory|has no best network"):
        find_network(f"{tmp_path}/nowhere#00003")
    (tmp_path / "a run#00003").mkdir()  # what is called so goes before
    with pytest.raises(InputError, match="has no best network"):
        find_network(f"{directory.location}#00003")
    ended = cellscout("draw", f"{directory.location}#00004", "-o", "cell.svg")
    assert ended.status == 0
    assert "a run#00004" in (tmp_path / "cell.svg").read_text()
