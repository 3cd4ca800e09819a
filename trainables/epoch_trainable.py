"""What every trainable of cellscout shares: Ray Tune's `Trainable`, told in epochs. No torch.

Knows when to report; does not know how an epoch is trained. A trainable of one's own derives from `EpochTrainable`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ray import tune

from search_spaces import Architecture, CellSpace
from trainables.costs import network_costs
from trainables.epoch_result import EpochResult
from trainables.network_spec import NetworkSpec
from trainables.settings import NetworkSettings, TrainingSettings
from trainables.skeleton import Skeleton

STEP_SECONDS = 1.0
"""Epochs are grouped into one report of about this many seconds, because a report costs the driver milliseconds."""


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """What all trials of a run have in common, but the images.

    `image_shape` is (height, width, channels); `milestones` are the epochs at which the scheduler decides, None means
    at each one; `threads` is the number of CPUs that Ray allots to a trial; `measure_latency` asks for
    `latency_seconds`.
    """

    space: CellSpace
    skeleton: Skeleton
    network: NetworkSettings
    training: TrainingSettings
    image_shape: tuple[int, int, int]
    classes: int
    milestones: tuple[int, ...] | None
    seed: int
    threads: int
    measure_latency: bool = False

    def network_spec(self, architecture: Architecture) -> NetworkSpec:
        height, width, channels = self.image_shape
        return NetworkSpec(
            architecture=architecture,
            skeleton=self.skeleton,
            repeats=self.network.repeats,
            filters=self.network.filters,
            classes=self.classes,
            image_channels=channels,
            image_size=(height, width),
            drop_path_probability=self.training.drop_path_probability,
            dropout=self.training.dropout,
            auxiliary_head=self.training.auxiliary_weight > 0,
        )

    def costs(self, architecture: Architecture) -> dict[str, float]:
        """What is known of a candidate without training it: parameters, and for an image multiply-adds and bytes that
        training keeps. Without torch, in about a millisecond."""
        return asdict(network_costs(self.network_spec(architecture)))

    def example(self) -> NetworkSpec:
        """The network of a candidate drawn by the run's seed; ValueError if these settings make none."""
        return self.network_spec(self.space.sample(np.random.default_rng(self.seed)))


class EpochTrainable(tune.Trainable, ABC):
    """A worker that trains one candidate after the other.

    A report of `step()` holds `epoch`, the other fields and the further metrics of the last `EpochResult`; the
    candidate's costs and latency; `curve`, the results of all epochs since the last report; `facts`, what `begin`
    returned; `diverged`; and after the last epoch `weights`, in the safetensors format.
    """

    plan: TrialPlan

    metrics: tuple[str, ...] = ()
    """Names of the further metrics of its `EpochResult`s, which may then be objectives of a search."""

    @classmethod
    def check(cls, plan: TrialPlan) -> None:
        """Called once, before the search starts and without torch; ValueError if no candidate could be trained."""

    @abstractmethod
    def prepare(self, data: Any) -> None:
        """Called once a worker. `data` is a Ray object reference to the run's `DataSplits`."""

    @abstractmethod
    def begin(self, architecture: Architecture) -> dict[str, Any]:
        """Drop the last candidate, build this one; return its `device`.

        And if the plan asks to measure it, `latency_seconds` for one image on that device.
        """

    @abstractmethod
    def train_epoch(self) -> EpochResult:
        """Train the candidate for one epoch and score it."""

    @abstractmethod
    def weights(self) -> bytes:
        """The candidate's weights in the safetensors format."""

    def setup(self, config: Mapping[str, Any], plan: TrialPlan, data: list[Any]) -> None:
        # `data` comes in a list, because Ray would fetch a bare reference in the driver's place.
        self.plan = plan
        self.prepare(data[0])
        self._begin(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Called by Ray Tune to reuse this worker, its imports and its data for the next candidate."""
        self._begin(new_config)
        return True

    def _begin(self, config: Mapping[str, Any]) -> None:
        architecture = self.plan.space.decode(config)
        self._facts = self.begin(architecture)
        if set(self._facts) - {"latency_seconds"} != {"device"}:
            raise ValueError(
                f"{type(self).__name__}.begin returned {sorted(self._facts)}; it returns the device, and no more"
            )
        # In every report, because a scheduler knows of a trial only what its reports say.
        self._costs = self.plan.costs(architecture)

    def step(self) -> dict[str, Any]:
        """Train for about a second, but at least an epoch and never past a milestone."""
        started = time.monotonic()
        curve: list[EpochResult] = []
        while True:
            last = self.train_epoch()
            if set(last.metrics) != set(self.metrics):
                raise ValueError(
                    f"epoch {last.epoch} has the metrics {sorted(last.metrics)}; {type(self).__name__}.metrics "
                    f"declares {sorted(self.metrics)}"
                )
            curve.append(last)
            done = last.diverged or last.epoch >= self.plan.training.epochs
            expected_end = (time.monotonic() - started) * (len(curve) + 1) / len(curve)
            if done or self._is_milestone(last.epoch) or expected_end > STEP_SECONDS:
                break
        report = {
            **self._costs,
            **({"latency_seconds": self._facts["latency_seconds"]} if self.plan.measure_latency else {}),
            **last.metrics,
            **asdict(last),
            "curve": [asdict(result) for result in curve],
            "facts": self._facts,
            "diverged": last.diverged,
            "done": done,
        }
        if done and not last.diverged:
            report["weights"] = self.weights()
        return report

    def _is_milestone(self, epoch: int) -> bool:
        return self.plan.milestones is None or epoch in self.plan.milestones
