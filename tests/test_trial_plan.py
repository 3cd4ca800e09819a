"""The plan of a search's trials: what is refused before anything starts, and the network that it describes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from search_spaces import NASNET
from tests.stepping import PLAN
from trainables import CellTrainable
from trainables.settings import NetworkSettings, TrainingSettings
from trainables.skeleton import SKELETONS


def test_a_space_with_unknown_operations_is_refused_before_anything_starts() -> None:
    space = replace(NASNET, name="mine", operations=("identity", "conv_9x9"))
    with pytest.raises(ValueError, match="unknown operation 'conv_9x9'; known: none, identity, avg_pool_3x3"):
        CellTrainable.check(replace(PLAN, space=space))
    with pytest.raises(ValueError, match="filters is 4; with 2 stem cells at least 8 are needed"):
        CellTrainable.check(replace(PLAN, skeleton=SKELETONS["nasnet_mobile"]))
    with pytest.raises(ValueError, match="training.cutout is 16; with images of 8x8 pixels it can be at most 8"):
        CellTrainable.check(replace(PLAN, training=TrainingSettings(cutout=16)))
    CellTrainable.check(PLAN)


def test_a_plan_has_everything_that_a_network_spec_needs() -> None:
    plan = replace(
        PLAN, training=TrainingSettings(drop_path_probability=0.2, auxiliary_weight=0.4), image_shape=(16, 12, 3)
    )
    spec = plan.network_spec(plan.space.sample(np.random.default_rng(0)))
    assert (spec.image_size, spec.image_channels, spec.classes) == ((16, 12), 3, 10)
    assert spec.auxiliary_head
    assert spec.drop_path_probability == 0.2
    assert json.dumps(spec.to_json())


def test_no_candidate_costs_less_than_the_stem() -> None:
    for skeleton in SKELETONS.values():
        plan = replace(PLAN, skeleton=skeleton, image_shape=(32, 32, 3), network=NetworkSettings(repeats=1, filters=8))
        least, generator = plan.least_costs(), np.random.default_rng(0)
        for _ in range(5):
            costs = plan.costs(plan.space.sample(generator))
            assert all(0 < least[name] < costs[name] for name in costs)
