"""Tests of `check_scheduler_fits`: a scheduler that cannot serve a search is refused before the search starts."""

from __future__ import annotations

from typing import Any

import pytest
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    ResourceChangingScheduler,
)

from orchestrator.config.components import make_scheduler
from orchestrator.config.loading import parse_config
from orchestrator.config.scheduler_fit import check_scheduler_fits
from orchestrator.config.search_config import SchedulerSettings
from orchestrator.errors import ConfigError
from orchestrator.objectives import Direction
from orchestrator.schedulers import SCHEDULERS
from orchestrator.search.passed import PassedParts
from orchestrator.search.run import run_search
from orchestrator.search.setup import SearchComponents

ONE: dict[str, Direction] = {"val_accuracy": "maximize"}
TWO: dict[str, Direction] = {"val_accuracy": "maximize", "macs": "minimize"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("PopulationBasedTraining", "changes the settings of candidates .*sampler.name = 'evolution'"),
        ("pbt:PopulationBasedTrainingReplay", "changes the settings of candidates"),
        ("pb2:PB2", "scheduler PB2 cannot serve a search: it changes the settings of candidates"),
        ("HyperBandForBOHB", "only with Ray Tune's searcher TuneBOHB; scheduler.name = 'hyperband'"),
        (
            "HyperBandScheduler",
            "wait for ever .*scheduler.name = 'hyperband' is its asynchronous form without that fault",
        ),
        ("ResourceChangingScheduler", r"changes the resources of trials, which \[resources\] sets; use the scheduler"),
    ],
)
def test_a_scheduler_of_ray_tune_that_cannot_serve_is_refused_by_name(name: str, message: str) -> None:
    module, _, attribute = name.rpartition(":")
    full = f"ray.tune.schedulers{'.' if module else ''}{module}:{attribute}"
    with pytest.raises(ConfigError, match=message):
        make_scheduler(SchedulerSettings(name=full), 9, ONE)


@pytest.mark.parametrize(
    ("scheduler", "objectives", "message"),
    [
        (PopulationBasedTraining(hyperparam_mutations={"x": [1, 2]}), ONE, "sampler.name = 'evolution'"),
        (HyperBandForBOHB(), ONE, "TuneBOHB"),
        (HyperBandScheduler(), ONE, "scheduler.name = 'hyperband'"),
        (ResourceChangingScheduler(), ONE, "use the scheduler that it wraps"),
        (AsyncHyperBandScheduler(), ONE, "counts reports .*; give it time_attr='epoch'"),
        (AsyncHyperBandScheduler("epoch", "val_loss", "min"), ONE, "metric of its own; leave it out, val_accuracy is"),
        (SCHEDULERS["pasha"](max_epochs=9), TWO, "is for one objective, and there are 2: val_accuracy, macs; asha"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_object_that_cannot_serve_is_refused_before_anything_starts(
    scheduler: Any, objectives: dict[str, Direction], message: str
) -> None:
    minimized = [name for name, direction in objectives.items() if direction == "minimize"]
    config = parse_config({"objectives": {"minimize": minimized}}, "x")
    with pytest.raises(ConfigError, match=message):
        run_search(config, scheduler=scheduler)


@pytest.mark.parametrize(
    "scheduler",
    [
        FIFOScheduler(),
        AsyncHyperBandScheduler("epoch"),
        MedianStoppingRule("epoch"),
        *(make(max_epochs=9) for make in SCHEDULERS.values()),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_the_others_fit_and_are_left_as_they_are(scheduler: Any) -> None:
    check_scheduler_fits(scheduler, ONE)
    assert scheduler.set_search_properties("val_accuracy", "max")  # it has no metric yet


def test_a_scheduler_that_counts_reports_by_its_options_is_refused() -> None:
    options = {"name": "ray.tune.schedulers:AsyncHyperBandScheduler", "options": {"time_attr": "training_iteration"}}
    with pytest.raises(ConfigError, match="counts reports"):
        SearchComponents.of(parse_config({"scheduler": options}, "x"), PassedParts())


@pytest.mark.parametrize("section", ["sampler", "scheduler"])
def test_whatever_a_class_raises_is_told_in_one_line(
    section: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raises_all.py").write_text("class Own:\n    def __init__(self):\n        raise KeyError('x\\ny')\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = parse_config({section: {"name": "raises_all:Own"}}, "x")
    with pytest.raises(ConfigError, match=rf"{section}.options = {{}}: ") as raised:
        SearchComponents.of(config, PassedParts())
    assert "\n" not in str(raised.value)
