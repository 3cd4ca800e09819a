"""Objects that are passed in Python: how they are recorded, shown and asked for again. Without Ray."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from ray.tune.schedulers import AsyncHyperBandScheduler

from orchestrator.config.loading import load_config, parse_config
from orchestrator.errors import ConfigError, InputError
from orchestrator.evaluation.run import evaluate
from orchestrator.networks.retraining.run import procedure_of, retrain, unused_trainable
from orchestrator.progress.display import Progress
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_info import describe_run
from orchestrator.report.comparison.compare import compare_runs
from orchestrator.report.comparison.runs import read_search
from orchestrator.report.page.content import content_of
from orchestrator.report.page.record import PageRecord
from orchestrator.samplers import SAMPLERS
from orchestrator.search.passed import PassedParts
from orchestrator.search.run import resume_search, run_search
from orchestrator.search.setup import SearchComponents
from orchestrator.simulation.recorded_curves import RecordedCurves
from search_spaces import NASNET
from tests.made_up import made_up
from tests.pages import page_of
from tests.records import snapshot
from tests.stepping import Paced
from trainables.procedure import TrainingProcedure


class TopK(RandomSampler):
    """A sampler as a user writes one."""

    def __init__(self, k: int = 5, weights: tuple[float, ...] = (1.0, 0.5), *, model: Any = None) -> None:
        super().__init__(seed=0)
        self.k, self._weights, self.model = k, weights, model


class Seeded(RandomSampler):
    """A sampler that keeps its seed under that name."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self.seed = seed


TOP_K = "tests.test_passed_objects:TopK(k=5, weights=[1.0, 0.5])"


class ReachedError(Exception):
    """The resume has got past its checks."""


def searched(folder: Path, given: PassedParts, **values: Any) -> str:
    """The record of a search with these objects."""
    components = SearchComponents.of(load_config(None), given)
    described = describe_run(
        components.config, resources={}, data={}, score_bounds=(0.0, 1.0), passed=components.passed
    )
    overrides = tuple(f"{part}.name={one.plugin_name}" for part, one in described.passed.items())
    directory = made_up(folder, 40, overrides=overrides, passed=described.passed, **values)
    return directory.location


def test_a_retraining_follows_the_settings_if_the_trainable_was_passed(tmp_path: Path) -> None:
    """A class of a script or a notebook cannot be found again by its name."""

    class OfANotebook(Paced):
        pass

    search = RecordedRun.of_search(searched(tmp_path / "run", PassedParts(trainable=OfANotebook)))
    assert procedure_of(search) is TrainingProcedure
    assert (unused_trainable(search) or "").endswith("OfANotebook (passed in Python)")


@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("tests.stepping:Paced", "tests.stepping:Paced"),
        ("trainables.cell_trainable:CellTrainable", None),
        ("cell", None),
    ],
)
def test_a_trainable_that_a_retraining_does_not_use_is_named(name: str, unused: str | None, tmp_path: Path) -> None:
    search = RecordedRun.of_search(made_up(tmp_path / "run", 3, overrides=(f"trainable.name={name}",)))
    assert unused_trainable(search) == unused


def test_an_object_is_described_by_its_class_its_module_and_what_it_tells() -> None:
    space = replace(NASNET, name="mine", blocks=2)
    scheduler = AsyncHyperBandScheduler(time_attr="epoch", max_t=9, grace_period=3)
    scheduler.set_search_properties("val_accuracy", "max")
    found = PassedParts(space, TopK(model=object()), scheduler, Paced).describe()
    assert str(found["sampler"]) == TOP_K
    assert str(found["trainable"]) == "tests.stepping:Paced"
    assert found["space"].plugin_name == "search_spaces.cell_space:CellSpace"
    options = found["space"].options
    assert (options["name"], options["blocks"], options["operations"]) == ("mine", 2, list(NASNET.operations))
    assert found["scheduler"].name == "AsyncHyperBandScheduler"
    assert "metric" not in found["scheduler"].options  # Ray Tune has set it
    assert json.loads(json.dumps(options)) == options


def test_a_sampler_that_keeps_the_space_is_described_with_its_name() -> None:
    assert PassedParts(sampler=TopK(model=NASNET)).describe()["sampler"].options["model"] == "nasnet"


@pytest.mark.parametrize("sampler", [TPESampler(seed=1, n_startup_trials=4), SAMPLERS["tpe"](seed=1)])
def test_a_sampler_of_optunas_is_called_by_its_own_class(sampler: BaseSampler) -> None:
    found = PassedParts(sampler=sampler).describe()["sampler"]
    assert found.name == "TPESampler"
    assert found.module.startswith(("optuna.samplers", "orchestrator.samplers.tpe"))
    assert found.options.get("n_startup_trials", 4) == 4


def test_the_settings_name_the_object_and_not_what_it_replaces() -> None:
    config = load_config(None, ["space.blocks=3", "sampler.options={initial=7}"])
    found = PassedParts(space=NASNET, sampler=TopK(), trainable=Paced).named_in(config)
    assert (found.sampler.name, found.sampler.options) == ("tests.test_passed_objects:TopK", {})
    assert (found.space.name, found.space.blocks) == ("search_spaces.cell_space:CellSpace", None)
    assert found.trainable.name == "tests.stepping:Paced"
    assert found.scheduler == config.scheduler
    assert parse_config(found.model_dump(mode="json"), "x") == found


def test_a_class_of_a_notebook_or_a_function_has_a_name_that_settings_accept() -> None:
    class Local(RandomSampler):
        pass

    Local.__module__ = "my-script.2nd"
    found = PassedParts(sampler=Local()).named_in(load_config(None))
    assert found.sampler.name == "my_script._2nd:Local"
    parse_config(found.model_dump(mode="json"), "x")


@pytest.mark.parametrize(
    ("recorded", "given", "message"),
    [
        (
            PassedParts(sampler=TopK()),
            {},
            f"with a sampler that was passed in Python, {TOP_K}; pass the same one again",
        ),
        (PassedParts(space=NASNET), {}, "with a space that was passed in Python, .*CellSpace.*name='nasnet'"),
        (PassedParts(trainable=Paced), {}, "with a trainable that was passed in Python, tests.stepping:Paced; pass"),
        (PassedParts(sampler=TopK()), {"sampler": TopK(k=3)}, r"its options.k was 5, and is 3 \(sampler=...\)"),
        (
            PassedParts(sampler=TopK()),
            {"sampler": RandomSampler()},
            "its module was 'tests.test_passed_objects', and is",
        ),
        (PassedParts(), {"sampler": TopK()}, "with the sampler 'predictor'; .*TopK.* cannot replace it"),
        (
            PassedParts(sampler=TopK()),
            {"sampler": TopK(), "changes": ["sampler.options.k=3"]},
            f"the changes set sampler.name or sampler.options, and {TOP_K} is passed as the sampler; leave out one",
        ),
    ],
)
def test_a_resume_refuses_to_go_on_without_the_same_object(
    recorded: PassedParts, given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    run = searched(tmp_path / "run", recorded)
    before = snapshot(tmp_path)
    with pytest.raises(ConfigError, match=message.replace("(k", r"\(k").replace("[1.0, 0.5])", r"\[1.0, 0.5\]\)")):
        resume_search(run, **given)
    assert snapshot(tmp_path) == before


def test_a_resume_takes_the_same_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_: Any, **__: Any) -> None:
        raise ReachedError

    monkeypatch.setattr("orchestrator.search.run.run_environment", reached)
    run = searched(tmp_path / "run", PassedParts(NASNET, TopK(), trainable=Paced))
    with pytest.raises(ReachedError):
        resume_search(run, space=NASNET, sampler=TopK(), trainable=Paced)


def test_a_sampler_that_is_named_replaces_the_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_: Any, **__: Any) -> None:
        raise ReachedError

    monkeypatch.setattr("orchestrator.search.run.run_environment", reached)
    run = searched(tmp_path / "run", PassedParts(NASNET, TopK()))
    with pytest.raises(ReachedError):
        resume_search(run, ["sampler.name=tpe"], space=NASNET)
    with pytest.raises(ConfigError, match="with a space that was passed in Python"):
        resume_search(run, ["sampler.name=tpe"])


@pytest.mark.parametrize(
    ("passed", "message"),
    [
        ({"sampler": TopK}, "sampler is <class .*TopK'>; an object of the class BaseSampler is needed"),
        ({"sampler": "tpe"}, "sampler is 'tpe'; an object of the class BaseSampler is needed .sampler=...."),
        ({"space": "nasnet"}, "space is 'nasnet'; an object of the class CellSpace is needed"),
        ({"scheduler": 1}, "scheduler is 1; an object of the class TrialScheduler is needed"),
        ({"trainable": object()}, "a subclass of EpochTrainable is needed"),
    ],
)
def test_what_is_no_part_of_a_search_is_refused(passed: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PassedParts(**passed)


def test_a_search_needs_settings() -> None:
    with pytest.raises(ConfigError, match="config is of the type str; settings are needed, as load_config"):
        run_search("search.toml")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"progress": True}, "progress is True; an object of the class Progress is needed"),
        ({"progress": Progress}, "progress is <class .*; an object of the class Progress is needed"),
        ({"on_event": "x"}, "on_event is 'x'; a function of an event is needed"),
    ],
)
def test_what_cannot_show_or_listen_is_refused_before_anything_is_made(
    arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        run_search(load_config(), run_dir=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_what_is_no_settings_of_a_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="settings is {'epochs': 3}; an object of the class RetrainSettings is needed"
    ):
        retrain(tmp_path, {"epochs": 3})  # type: ignore[arg-type]


def test_a_dead_run_says_what_to_pass_again(tmp_path: Path, cellscout: Any) -> None:
    searched(tmp_path / "run", PassedParts(sampler=TopK()), state="interrupted")
    assert "continue    in Python: cellscout.resume('run', sampler=...)" in cellscout("status", "run").out


def test_runs_of_a_sampler_with_seeds_of_its_own_are_one_group(tmp_path: Path) -> None:
    runs = [searched(tmp_path / str(seed), PassedParts(sampler=Seeded(seed)), seed=seed) for seed in range(2)]
    settings = [read_search(run).settings for run in runs]
    assert settings[0] == settings[1]


def test_the_commands_name_what_they_cannot_make(tmp_path: Path, cellscout: Any) -> None:
    searched(tmp_path / "run", PassedParts(sampler=TopK()))
    ended = cellscout("resume", "run")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "pass the same one again, in Python (sampler=...), or name another sampler (--set sampler.name" in ended.err
    searched(tmp_path / "spaced", PassedParts(space=NASNET))
    assert "with a space that was passed in Python" in cellscout("evaluate", "spaced").err
    with pytest.raises(
        InputError,
        match=r"with module:NAME of that space: cellscout simulate \S*/spaced/trials.parquet --space module:NAME$",
    ):
        RecordedCurves.read(str(tmp_path / "spaced"))


def test_an_evaluation_needs_the_scheduler_for_its_random_search(tmp_path: Path) -> None:
    scheduler = AsyncHyperBandScheduler(time_attr="epoch", max_t=9)
    run = searched(tmp_path / "run", PassedParts(scheduler=scheduler))
    with pytest.raises(ConfigError, match="with a scheduler that was passed in Python, .*AsyncHyperBandScheduler"):
        evaluate(run)


def test_status_report_page_and_compare_show_what_it_was(tmp_path: Path, cellscout: Any) -> None:
    run = searched(tmp_path / "run", PassedParts(sampler=TopK()))
    line = f"searched by space nasnet, sampler {TOP_K} (passed in Python), scheduler asha, trainable cell"
    assert line in cellscout("status", "run").out
    assert line in cellscout("report", "run").out
    assert json.loads(cellscout("status", "run", "--json").out)["sampler"] == f"{TOP_K} (passed in Python)"
    content = content_of(PageRecord.read(RecordedRun.of_search(run)))
    assert content.summary.facts["searched by"] == line.removeprefix("searched by ")
    assert content.passed == {"sampler": TOP_K}
    assert "which a search file cannot do" in page_of(RecordedRun.read(run).directory).text
    other = searched(tmp_path / "other", PassedParts(sampler=TopK(k=3)))
    named = searched(tmp_path / "named", PassedParts())
    comparison = compare_runs([run, other, named])
    found = {one.setting: set(map(str, one.values)) for one in comparison.differences}
    assert found["sampler.options.k"] == {"5", "3", "None"}
    assert found["sampler.name"] == {"tests.test_passed_objects:TopK", "predictor"}
    assert len(comparison.groups) == 3
