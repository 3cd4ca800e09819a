"""The page of a search, from made-up records: its parts, what it says, and that nothing from outside breaks out."""

from __future__ import annotations

import base64
import gzip
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.loading import load_config, parse_config
from orchestrator.config.toml_writer import search_file
from orchestrator.record.events import RunEnded
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.report.drawing import svg
from orchestrator.report.page.content import Content, content_of
from orchestrator.report.page.problems import problems_of
from orchestrator.report.page.record import PageRecord
from orchestrator.report.page.writing import write_page
from orchestrator.report.terminal import report_json, run_summary
from search_spaces import NASNET_A, PUBLISHED
from tests.builders import STARTED, info, trial, write
from tests.made_up import made_up, state_of
from tests.pages import SCRIPT, Page, evaluation, page_of, traces


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Of 120 trials; nobody may write into it."""
    return made_up(tmp_path_factory.mktemp("run") / "run", 120)


@pytest.fixture(scope="module")
def content(run: RunDirectory) -> Content:
    return content_of(PageRecord.read(RecordedRun.of_search(run)))


@pytest.fixture
def empty(tmp_path: Path) -> RunDirectory:
    """A search that has only just begun."""
    directory = RunDirectory.at(tmp_path / "empty")
    directory.create(info(host="elsewhere"))
    write(directory, [STARTED])
    return directory


def test_the_page_is_one_file_that_fetches_nothing(run: RunDirectory) -> None:
    page = page_of(run)
    for tag, name in (("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src")):
        assert all(attributes.get(name) in (None, "data:,") for attributes in page.all(tag))
    sections = {one["id"] for one in page.all("section")}
    assert sections == {
        *("summary", "winner", "leaderboard", "curves-section", "best", "workers", "mattered", "costs"),
        *("confirmation-section", "problems", "reproduce"),
    }
    targets = {(one["href"] or "")[1:] for one in page.all("a")}
    assert targets == sections
    assert set(page.figures) == {
        *("curves", "best-by-time", "best-by-trials", "timeline", "decisions-0", "operations-0"),
        *("costs-parameters", "costs-macs"),
    }
    assert len({one["id"] for _, one in page.elements if "id" in one}) == sum("id" in one for _, one in page.elements)


def test_nothing_from_outside_becomes_markup(tmp_path: Path) -> None:
    """Neither in HTML, nor in the JSON within scripts, nor in what plotly takes for HTML."""
    facts = {"validation": 9, "image_shape": [8, 8, 1], "classes": [SCRIPT, "</title><b>"], "train": 1, "test": 1}
    directory = RunDirectory.at(tmp_path / "<b>run")
    config = {"run": {"name": SCRIPT}, "data": {"name": SCRIPT}, SCRIPT: {SCRIPT: SCRIPT}}
    versions = {SCRIPT: "</script>"}
    values = {"config": config, "data": facts, "versions": versions, "command": ["cellscout", SCRIPT], "host": SCRIPT}
    directory.create(info(**values, state="completed"))
    started = STARTED.model_copy(update={"objectives": {SCRIPT: "maximize", "macs": "minimize"}})
    block = [0, SCRIPT, 1, "conv<b>", "add"]
    cell = {**NASNET_A.to_json()["normal"], "blocks": [block], "output": [2]}
    events = [started, *trial("00000", [0.5, 0.6], "completed"), *trial("00001", [0.5], "failed")]
    metrics = {SCRIPT: 0.5}
    changed = []
    for event in events:
        update: dict[str, Any] = {}
        if event.event == "trial_suggested":
            update = {"architecture": {"normal": cell, "reduction": cell}}
        if event.event == "epoch_done":
            update = {"metrics": metrics}
        if event.event == "trial_ended" and event.status == "failed":
            update = {"error": f"</td>{SCRIPT}"}
        changed.append(event.model_copy(update=update))
    write(directory, changed)
    text = Path(write_page(RecordedRun.read(directory))).read_text(encoding="utf-8")
    assert "alert('x')<" not in text.replace(r"\u003c", "")
    assert SCRIPT not in text
    page = Page(text)
    assert [one for one in page.all("script") if not one] == [{}]  # ours; plotly is no script before it is unpacked
    assert not page.all("b")
    assert page.text.count("alert('x')") >= 5
    for figure in page.figures.values():
        shown = json.dumps(figure)
        assert "<script" not in shown
        assert "<b>" not in shown


@pytest.mark.parametrize("standing", ["running", "interrupted", "died"])
def test_a_run_with_nothing_to_show_says_so_everywhere(tmp_path: Path, standing: str) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    values = {"state": "running", "host": "elsewhere"} if standing == "running" else {"state": standing}
    directory.create(info(**values))
    write(directory, [STARTED] if standing != "died" else [])
    page = page_of(directory)
    assert page.figures == {}
    assert "No trial has completed its training, so there is no winner yet." in page.text
    assert "No trial has finished an epoch yet." in page.text
    assert "No trial has a score yet." in page.text
    assert "No trial has failed, diverged or broken a constraint." in page.text
    assert ("still running" in page.text) == (standing == "running")
    assert ("cellscout resume" in page.text) == (standing != "running")


def test_a_search_in_which_everything_failed_tells_why(tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(state="failed"))
    ended = RunEnded(outcome="failed", reason="nothing could be trained: 2 trials failed")
    write(directory, [STARTED, *trial("00000", [], "failed"), *trial("00001", [], "failed"), ended])
    content = content_of(PageRecord.read(RecordedRun.of_search(directory)))
    assert content.summary.standing.startswith("An error ended the search: nothing could be trained: 2 trials failed. ")
    told = run_summary(RecordedRun.read(directory), RecordedRun.read(directory).state())
    assert "state       failed: nothing could be trained: 2 trials failed\n" in told
    assert [(one.kind, one.count, one.message) for one in content.problems] == [("failed", 2, "bang")]
    assert content.leaderboard.rows == []
    assert content.summary.verdict[0] == "2 trials failed: bang"
    assert content.summary.retrain is None


def test_an_exhausted_search_tells_why(tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(state="exhausted"))
    why = "no proposal meets the constraints any more: smallest of 400: 21 macs; the limit is 10"
    write(directory, [STARTED, RunEnded(outcome="exhausted", reason=why)])
    run = RecordedRun.of_search(directory)
    assert content_of(PageRecord.read(run)).summary.standing.startswith(f"The search has ended: {why}. ")
    assert f"state       exhausted: {why}\n" in run_summary(run, run.state())
    assert report_json(run, run.state(), None)["reason"] == why


def test_a_proposal_that_has_not_begun_is_no_training(tmp_path: Path) -> None:
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(state="out_of_time"))
    proposed = trial("00001", [], "running")[:1]
    write(directory, [STARTED, *trial("00000", [0.5], "completed"), *proposed, RunEnded(outcome="out_of_time")])
    standing = content_of(PageRecord.read(RecordedRun.of_search(directory))).summary.standing
    assert "Trainings started: 1. Proposals: 1 completed, 1 unfinished." in standing


def test_failures_that_differ_in_numbers_only_are_one(run: RunDirectory, content: Content) -> None:
    state = RecordedRun.read(run).state()
    problems = problems_of(state)
    counts = state.counts()
    kinds = ("failed", "diverged", "infeasible")
    assert [(one.kind, one.count) for one in problems] == [(kind, counts[kind]) for kind in kinds]
    assert problems[0].message.startswith("out of memory: tried to get ")
    assert content.set_back == {"worker died": 1}


def test_retrained_networks_are_told_with_their_tests(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 12)
    result = {
        "name": "best",
        "location": "x",
        "parameters": 1234,
        "macs": 5_000_000,
        "seeds": [0, 1],
        "accuracies": {"0": 0.9, "1": 0.91},
        "accuracy": 0.905,
        "deviation": 0.0071,
        "epochs": 20.0,
        "train_seconds": 61.0,
        "device": "cpu",
        "latency_seconds": 0.002,
        "test_number": 2,
        "tested_at": "2026-01-02T00:00:00+00:00",
        "is_over": True,
        "weights": None,
        "freeze": False,
    }
    directory.folder.write("retrain/best/result.json", json.dumps(result).encode())
    (tmp_path / "run" / "retrain" / "unfinished").mkdir()
    text = page_of(directory).text
    assert "0.9050 ± 0.0071" in text
    assert "tested 2026-01-02 on cpu; test 2 of this network, so not fresh evidence" in text


def test_a_running_search_says_how_far_it_is(tmp_path: Path) -> None:
    running = made_up(tmp_path / "run", 40, state="running", host="elsewhere", overrides=("budget.trials=60",))
    progress = content_of(PageRecord.read(RecordedRun.of_search(running))).progress
    assert progress is not None
    ended = sum(one.attempt > 0 for one in state_of(running).trials.values())
    assert progress.done == ended / 60
    assert re.match(rf"{ended} of 60 ended, about .* left, .* elapsed$", progress.words)
    assert f"{ended} of 60 ended" in page_of(running).text
    ended_run = made_up(tmp_path / "ended", 12)
    assert content_of(PageRecord.read(RecordedRun.of_search(ended_run))).progress is None


def test_an_evaluation_has_its_section(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 20)
    trained = state_of(directory).trained
    candidate = json.loads(evaluation("00000", {}))["candidates"][0]
    means = {"00000": 0.9, "00002": 0.89, "00003": 0.8, "random/00007": 0.95}
    candidates = [
        {
            **candidate,
            "name": name,
            "trial_id": None if "/" in name else name,
            "mean": mean,
            "interval": [mean - 0.02, mean + 0.02],
            "scores": [{"seed": 1, "fold": fold, "score": mean + fold / 100} for fold in (-1, 0, 1)],
            "search_score": None if "/" in name else 0.93,
        }
        for name, mean in means.items()
    ]
    candidates.append({**candidate, "name": "00004", "mean": None, "interval": None, "problems": ["diverged"]})
    random = {**json.loads(evaluation("00000", {}))["random"]}
    random["comparison"] = {**random["comparison"], "difference": -0.05, "p_adjusted": 0.001}
    correlations = [{"epoch": 1, "candidates": 3, "spearman": 0.5, "kendall": -0.25}]
    values = {"candidates": candidates, "random": random, "rank_correlations": correlations}
    result = evaluation("00000", {"00002": 0.4, "00003": 0.001}, trials=trained, **values)
    directory.folder.write("evaluation/evaluation.json", result.encode())
    section = content_of(PageRecord.read(RecordedRun.of_search(directory))).evaluation
    assert section is not None
    *lines, single, before, drawn = traces(section.plot)
    assert dict(zip(drawn.y, drawn.x, strict=True)) == means
    assert tuple(drawn.customdata) == ("00000", "00002", "00003", None)
    assert [tuple(line.x) for line in lines] == [(mean - 0.02, mean + 0.02) for mean in means.values()]
    assert len(single.x) == 12
    assert tuple(before.x) == (0.93, 0.93, 0.93, None)
    colours = dict(zip(drawn.y, drawn.marker.color, strict=True))
    kinds = {colour: kind for kind, colour in section.plot.legend.items()}
    assert [kinds[colours[name]] for name in means] == [
        "the winner",
        "cannot be distinguished from the winner",
        "behind it",
        "better than the winner",
    ]
    page = page_of(directory)
    assert {"evaluation", "exports"} & {one["id"] for one in page.all("section")} == {"evaluation"}
    assert "random/00007 -0.0500" in page.text
    assert "1 3 +0.50 -0.25" in page.text


def test_exported_files_have_their_section(tmp_path: Path) -> None:
    directory = made_up(tmp_path / "run", 12)
    scores = {"accuracy": 0.875, "latency_seconds": {"1": 0.0012, "32": 0.02}}
    file = {
        "file": "model.int8.onnx",
        "format": "onnx",
        "int8": True,
        "pruning": {"kind": "weights", "fraction": 0.5, "zeros": 0.48, "fine_tune": 1},
        "size": 250_000,
        "pytorch_size": 1_000_000,
        "images": 400,
        "saw_validation": True,
        "largest_difference": 0.21,
        "scores": scores,
        "pytorch": scores,
        "accuracy_before": 0.9,
        "exported_at": "2026-01-02T00:00:00+00:00",
        "host": "here",
        "versions": {},
    }
    directory.folder.write("retrain/best/export/exports.json", json.dumps({"files": [file]}).encode())
    page = page_of(directory)
    assert "#exports" in {one["href"] for one in page.all("a")}
    assert "retrain/best/export/model.int8.onnx 0.25 MB 0.8750 0.0250 2.1e-01 1.20 ms 20.00 ms" in page.text
    assert "25% of PyTorch's 1.00 MB; 50% of the weights pruned, then 1 epoch; trained on the validation" in page.text


def test_a_row_opens_with_its_curve_its_cells_and_commands(run: RunDirectory, content: Content) -> None:
    state = state_of(run)
    assert set(content.leaderboard.opened) == {row.trial_id for row in content.leaderboard.rows}
    for trial_id, one in content.leaderboard.opened.items():
        trial = state.trials[trial_id]
        assert one["scores"] == [row.val_accuracy for row in trial.curve]
        assert one["error"] == trial.error
        assert [role for role, _ in one["cells"]] == ["normal", "reduction"]
        assert one["facts"]["fingerprint"] == trial.fingerprint
        assert f"{run.location}#{trial_id}" in one["commands"]["Draw its cells"]
    packed = re.search(r'id="details">([^<]+)<', Path(write_page(RecordedRun.read(run))).read_text(encoding="utf-8"))
    assert packed is not None
    assert set(json.loads(gzip.decompress(base64.b64decode(packed[1])))) == set(content.leaderboard.opened)


def test_the_search_file_is_read_back_as_the_same_configuration(content: Content) -> None:
    overrides = [
        *("run.name=a-b", "budget.hours=1.5", 'sampler.options={ initial = 7, note = "a \\"b\\" \\\\ ü" }'),
        *("objectives.minimize=['macs']", "objectives.constraints={ parameters = 3.5e6 }", "sampler.name=tpe"),
        *("warm_start.runs=['s3://bucket/run']", "training.cutout=4"),
    ]
    config = load_config(None, overrides)
    text = search_file(config.model_dump(mode="json"))
    assert parse_config(tomllib.loads(text), "the page's") == config
    assert parse_config(tomllib.loads(content.search_file), "the page's").training.epochs == 9


def test_cells_are_drawn_whole_large_and_small() -> None:
    assert [role for role, _ in svg.roles(NASNET_A)] == ["normal", "reduction"]
    assert [role for role, _ in svg.roles(PUBLISHED["pnasnet_5"].architecture)] == ["normal and reduction"]
    (_, large), (_, reduction) = svg.large_cells(NASNET_A)
    assert re.findall(r"--widest: \d+", large) == re.findall(r"--widest: \d+", reduction)  # so they have one scale
    for operation in {edge.operation for block in NASNET_A.normal.blocks for edge in block.edges}:
        assert f">{operation}</text>" in large
    small = svg.small(NASNET_A, "trial 1")
    assert small.count("<svg") == 2
    assert "<text" not in small
    assert len(small) < 6_000  # a thousand of them are to fit on a page
    assert set(svg.families([NASNET_A])) == {"separable convolution", "average pooling", "max pooling", "identity"}
