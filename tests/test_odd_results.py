"""Whatever a user's trainable returns for an epoch is recorded, or refused in one line."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import ray
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.record.events import EpochDone, now
from orchestrator.search.recorder import _epoch_done
from tests.stepping import PLAN, Paced, config
from trainables.epoch_result import EPOCH_METRICS, EpochResult
from trainables.faults import CandidateFault

FIELDS = ("epoch", "learning_rate", "ended_at", *EPOCH_METRICS)

odd_numbers = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from([10**400, True, None, "0.5", "", b"1", [], [0.5], {}, 1j, object(), time.time, math.pi]),
    st.floats(width=32).map(np.float32),
    st.floats().map(torch.tensor),
    st.lists(st.floats(0, 1), max_size=3).map(np.array),
    st.lists(st.floats(0, 1), max_size=3).map(torch.tensor),
    st.floats(0, 2**40).map(lambda seconds: time.time() + seconds),
)
odd_fields = st.dictionaries(st.sampled_from(FIELDS), odd_numbers, min_size=1, max_size=3)
odd_metrics = st.one_of(
    st.dictionaries(st.text(max_size=3), odd_numbers, max_size=2),
    st.fixed_dictionaries({"margin": odd_numbers}),
    odd_numbers,
)
odd_results = st.one_of(st.none(), st.dictionaries(st.text(max_size=3), odd_numbers), odd_numbers)


@dataclass
class Odd:
    """What `train_epoch` returns: another value, or a result with these fields."""

    fields: dict[str, Any]
    metrics: Any
    instead: Any = ...


class OddTrainable(Paced):
    metrics = ("margin",)
    odd: Odd

    def train_epoch(self) -> EpochResult:
        if self.odd.instead is not ...:
            return self.odd.instead
        good = {"epoch": 1, "ended_at": time.time(), "learning_rate": 0.1, **dict.fromkeys(EPOCH_METRICS, 0.5)}
        return EpochResult(**{**good, **self.odd.fields}, metrics=self.odd.metrics)


@pytest.fixture(scope="module", autouse=True)
def no_ray() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "get", lambda reference: None)
        yield


@settings(max_examples=300, deadline=None)
@given(st.builds(Odd, odd_fields, st.one_of(st.just({"margin": 0.5}), odd_metrics)))
def test_any_fields_are_recorded_or_refused_in_one_line(odd: Odd) -> None:
    recorded_or_refused(odd)


@settings(max_examples=50, deadline=None)
@given(odd_results)
def test_any_other_value_is_refused_in_one_line(instead: Any) -> None:
    assert recorded_or_refused(Odd({}, {}, instead)) is None


def test_a_result_of_another_type_is_an_error_of_its_trial() -> None:
    with pytest.raises(CandidateFault, match="OddTrainable.train_epoch returned dict; it must return an EpochResult"):
        step(Odd({}, {}, {"val_accuracy": 0.5}))


def test_a_good_result_is_recorded() -> None:
    assert recorded_or_refused(Odd({}, {"margin": 0.5})) is not None


def step(odd: Odd) -> dict[str, Any]:
    trainable = OddTrainable.__new__(OddTrainable)
    trainable.odd = odd
    trainable.setup(config(0), plan=PLAN, data=[None])
    return trainable.step()


def recorded_or_refused(odd: Odd) -> EpochDone | None:
    """The event that the driver would write, after a check of its numbers; None if the worker refused the result."""
    fault: CandidateFault | None = None
    report: dict[str, Any] = {}
    try:
        report = step(odd)
    except CandidateFault as caught:
        fault = caught
    if fault is not None:
        assert fault.kind == "error"
        assert "\n" not in str(fault)
        return None
    (row,) = report["curve"]
    event = EpochDone.model_validate_json(_epoch_done("00000", row).model_dump_json())
    assert event.epoch == 1
    assert abs((event.time - now()).total_seconds()) <= 24 * 3600 + 60
    for score in (event.val_accuracy, event.train_accuracy):
        assert score is None or 0 <= score <= 1
    return event
