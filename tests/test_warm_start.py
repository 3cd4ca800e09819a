"""Results of other runs, imported for the sampler's study and to answer duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.loading import parse_config
from orchestrator.config.search_config import SearchConfig
from orchestrator.errors import ConfigError
from orchestrator.record.events import TrialImported
from orchestrator.record.run_directory import RunDirectory
from orchestrator.search.warm_start import WarmStart
from orchestrator.study.distributions import to_distributions
from search_spaces import NASNET, CellSpace
from tests.builders import info
from tests.driving import PARAMS, SWAPPED, TINY, Hand, admitted, driven

SPACE = to_distributions(TINY.param_space())


def config(runs: list[Path], **sections: Any) -> SearchConfig:
    return parse_config({"warm_start": {"runs": [str(run) for run in runs]}, **sections}, "x")


def record(folder: Path, **sections: Any) -> Hand:
    """Record a run with one trial of every end."""
    RunDirectory.at(folder).create(info(config=config([], **sections).model_dump(mode="json"), state="completed"))
    with driven(folder) as hand:
        hand.train(admitted(hand, PARAMS), [0.1, 0.8])
        hand.train(admitted(hand, {**PARAMS, "reduction.0.left.state": 1}), [0.1], "pruned")
        hand.train(admitted(hand, SWAPPED), [], "failed")
        hand.admit(PARAMS)
    return hand


def warm_start(config: SearchConfig, space: CellSpace, distributions: Mapping[str, Any]) -> list[TrialImported]:
    return WarmStart.read(config).trials(config, space, distributions)


def check_images(config: SearchConfig) -> None:
    WarmStart.read(config).check_images(config, FACTS)


def test_only_results_are_imported(tmp_path: Path) -> None:
    record(tmp_path / "old")
    found = warm_start(config([tmp_path / "old"]), TINY, SPACE)
    assert [(trial.trial_id, trial.status, len(trial.curve)) for trial in found] == [
        ("old/00000", "completed", 2),
        ("old/00001", "pruned", 1),
    ]
    assert found[0].params == PARAMS


def test_a_candidate_of_two_runs_is_imported_once_with_the_longer_curve(tmp_path: Path) -> None:
    for name in ("one", "two"):
        record(tmp_path / name)
    found = warm_start(config([tmp_path / "one", tmp_path / "two"]), TINY, SPACE)
    assert [trial.trial_id for trial in found] == ["one/00000", "one/00001"]


FACTS = {"train": 6, "validation": 2, "test": 2, "image_shape": [8, 8, 1], "classes": ["a", "b"], "sha256": "x"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["a", "c"]}, r"whose classes is \['a', 'c'\]; of this search's data it is \['a', 'b'\]"),
        ({"image_shape": [8, 8, 3]}, "whose image_shape is"),
        ({"test": 3}, "whose number of images is 11; of this search's data it is 10"),
        ({"sha256": "y"}, "whose sha256 is 'y'"),
    ],
)
def test_results_of_other_images_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    values = {"config": config([]).model_dump(mode="json"), "state": "completed"}
    RunDirectory.at(tmp_path / "old").create(info(**values, data={**FACTS, **change}))
    with pytest.raises(ConfigError, match=message):
        check_images(config([tmp_path / "old"]))


def test_results_of_the_same_images_split_otherwise_are_not_refused(tmp_path: Path) -> None:
    values = {"config": config([]).model_dump(mode="json"), "state": "completed", "seed": 1}
    split = {**FACTS, "train": 5, "validation": 3, "sha256": "y"}
    RunDirectory.at(tmp_path / "old").create(info(**values, data=split))
    check_images(config([tmp_path / "old"]))


def test_imported_results_can_be_imported_again(tmp_path: Path) -> None:
    record(tmp_path / "old")
    (tmp_path / "next").mkdir()
    first = warm_start(config([tmp_path / "old"]), TINY, SPACE)
    with driven(tmp_path / "next", imported=first):
        pass
    RunDirectory.at(tmp_path / "next").write_info(info(config=config([]).model_dump(mode="json")))
    second = warm_start(config([tmp_path / "next"]), TINY, SPACE)
    assert [trial.trial_id for trial in second] == ["old/00000", "old/00001"]


@pytest.mark.parametrize(
    "sections",
    [{"training": {"epochs": 5}}, {"network": {"filters": 4}}, {"data": {"validation_fraction": 0.3}}],
)
def test_results_of_another_recipe_are_refused(sections: dict[str, Any], tmp_path: Path) -> None:
    record(tmp_path / "old", **sections)
    ((section, ((name, value),)),) = ((section, tuple(values.items())) for section, values in sections.items())
    with pytest.raises(ConfigError, match=f"where {section}.{name} is {value}; here it is .*cannot be compared"):
        warm_start(config([tmp_path / "old"]), TINY, SPACE)


def test_two_runs_of_one_name_keep_their_results_apart(tmp_path: Path) -> None:
    record(tmp_path / "a" / "old")
    folder = tmp_path / "b" / "old"
    RunDirectory.at(folder).create(info(config=config([]).model_dump(mode="json")))
    with driven(folder) as hand:
        hand.train(admitted(hand, SWAPPED), [0.3])
    found = warm_start(config([tmp_path / "a" / "old", folder]), TINY, SPACE)
    assert [trial.trial_id for trial in found] == ["old/00000", "old/00001", "old/00000~"]


def test_an_objective_that_the_old_run_did_not_measure_is_refused(tmp_path: Path) -> None:
    record(tmp_path / "old")
    with pytest.raises(ConfigError, match="whose trials have no 'margin', an objective of this search"):
        warm_start(config([tmp_path / "old"], objectives={"maximize": ["margin"]}), TINY, SPACE)


def test_the_same_decisions_with_another_meaning_are_refused(tmp_path: Path) -> None:
    record(tmp_path / "old")
    other = replace(TINY, output="all_blocks", combinations=("concat",))
    with pytest.raises(ConfigError, match="the decisions of trial 00000 give another network in this space"):
        warm_start(config([tmp_path / "old"]), other, to_distributions(other.param_space()))


def test_the_place_of_the_data_is_not_part_of_the_recipe(tmp_path: Path) -> None:
    record(tmp_path / "old", data={"root": "elsewhere"})
    assert warm_start(config([tmp_path / "old"]), TINY, SPACE)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (replace(TINY, blocks=2), "have no 'normal.1.left.state'; its space differs"),
        (replace(TINY, operations=TINY.operations[1:]), "is 'identity' in trial 00000; this space has conv_1x3_3x1"),
        (NASNET, "its space differs"),
    ],
)
def test_candidates_of_another_space_are_refused(space: Any, message: str, tmp_path: Path) -> None:
    record(tmp_path / "old")
    with pytest.raises(ConfigError, match=message):
        warm_start(config([tmp_path / "old"]), space, to_distributions(space.param_space()))


def test_a_run_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"warm_start\.runs: .* holds no run"):
        warm_start(config([tmp_path]), TINY, SPACE)


def test_runs_with_other_bounds_of_the_score_are_refused(tmp_path: Path) -> None:
    record(tmp_path / "old")
    found = WarmStart.read(config([tmp_path / "old"]))
    found.check_scores((0.0, 1.0))
    with pytest.raises(ConfigError, match=r"whose score_bounds are \(0.0, 1.0\); here they are \(0.0, 100.0\)"):
        found.check_scores((0.0, 100.0))
