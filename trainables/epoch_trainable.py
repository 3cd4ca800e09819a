"""What every trainable of cellscout shares: Ray Tune's `Trainable`, told in epochs. No torch.

Knows when to report; does not know how an epoch is trained. A trainable of one's own derives from `EpochTrainable`.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune

from search_spaces import Architecture, CellSpace
from trainables.assignment import Assignment, Resample
from trainables.checkpoints import Checkpoint, CheckpointFolder, CheckpointWriter
from trainables.costs import network_costs
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult
from trainables.faults import CandidateFault, faults_told, storage_faults_told
from trainables.folds import resampled
from trainables.hang import hang_limit, process_ends_after
from trainables.network_spec import NetworkSpec
from trainables.preemption import node_is_draining
from trainables.settings import FaultSettings, NetworkSettings, TrainingSettings
from trainables.skeleton import Skeleton

STEP_SECONDS = 1.0
"""Epochs are grouped into one report of about this many seconds, because a report costs the driver milliseconds."""

WORTH_KEEPING_SECONDS = 0.05
"""Epochs that took less together are sooner trained again than written to a disk and made sure of there."""


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """What all trials of a run have in common, but the images.

    `image_shape` is (height, width, channels); `milestones` are the epochs at which the scheduler decides, None means
    at each one; `threads` is the number of CPUs that Ray allots to a trial; `measure_latency` asks for
    `latency_seconds`; `checkpoints` is where trials are kept to go on from, None where nobody will.
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
    faults: FaultSettings = field(default_factory=FaultSettings)
    checkpoints: CheckpointFolder | None = None

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
    returned; and `diverged`.

    With each report a checkpoint is written, while the training goes on, unless that would take longer than to train
    its epochs again; after the last epoch the weights are. A trial that was interrupted goes on from its newest
    checkpoint. Epochs that it holds and the record does not are reported
    first, and not trained again.
    """

    plan: TrialPlan
    """Its `seed` is the one to train by: in an evaluation, that of the training at hand."""

    metrics: tuple[str, ...] = ()
    """Names of the further metrics of its `EpochResult`s, which may then be objectives of a search."""

    micro_batches = 1
    """Into how many parts to split each batch, for a candidate that ran out of memory; set before `begin`."""

    @classmethod
    def check(cls, plan: TrialPlan) -> None:
        """Called once, before the search starts and without torch; ValueError if no candidate could be trained."""

    @abstractmethod
    def prepare(self, data: DataSplits) -> None:
        """Called once a worker, and in an evaluation with the images of each training that has others than the last.

        Their arrays may be read-only memory that all workers of a node share.
        """

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

    def state(self) -> bytes | None:
        """All that `load_state` needs to go on from here; None: there is no going on, only beginning anew."""
        return None

    def load_state(self, state: bytes) -> None:
        """Go on, in a candidate that `begin` has just built, from where `state` was taken."""
        raise NotImplementedError(f"{type(self).__name__} has a state and no load_state")

    def setup(self, config: Mapping[str, Any], plan: TrialPlan, data: list[Any]) -> None:
        # `data` comes in a list, because Ray would fetch a bare reference in the driver's place.
        self.plan = plan
        self._writer = None if plan.checkpoints is None else CheckpointWriter(plan.checkpoints)
        self._run = data[0], plan.seed
        self._prepared: tuple[Resample | None] | None = None
        self._begin(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Called by Ray Tune to reuse this worker, its imports and its data for the next candidate."""
        self._begin(new_config)
        return True

    def _begin(self, config: Mapping[str, Any]) -> None:
        self._assignment, params = Assignment.of(config)
        self.micro_batches = self._assignment.micro_batches
        self._curve: list[EpochResult] = []
        self._unreported: list[EpochResult] = []
        self._seconds_not_kept = 0.0
        self._prepare(self._assignment.resample)
        architecture = self.plan.space.decode(params)
        self._fingerprint = architecture.fingerprint
        with faults_told(), self._not_hanging():
            self._facts = self.begin(architecture)
            if set(self._facts) - {"latency_seconds"} != {"device"}:
                raise ValueError(
                    f"{type(self).__name__}.begin returned {sorted(self._facts)}; it returns the device, and no more"
                )
            self._go_on()

    def _prepare(self, resample: Resample | None) -> None:
        """With the images and the seed of the run, or those of one training of an evaluation."""
        if self._prepared == (resample,):
            return
        self._prepared = None
        images, seed = self._run
        with faults_told():
            data: DataSplits = ray.get(images)
            if resample is not None:
                data, seed = resampled(data, resample), resample.seed
            self.plan = replace(self.plan, seed=seed)
            self.prepare(data)
        self._prepared = (resample,)

    def _go_on(self) -> None:
        """From the newest checkpoint, if there is one."""
        if self.plan.checkpoints is None:
            return
        with storage_faults_told("read"):
            checkpoint = self.plan.checkpoints.newest(self._assignment.trial_id, self._fingerprint)
        if checkpoint is not None:
            self.load_state(checkpoint.state)
            self._curve = list(checkpoint.curve)
            self._unreported = [result for result in self._curve if result.epoch > self._assignment.epochs]

    def step(self) -> dict[str, Any]:
        """Train for about a second, but at least an epoch and never past a milestone."""
        with faults_told():
            if self._unreported:
                curve = self._next_unreported()
            else:
                if node_is_draining():
                    self._written()
                    raise CandidateFault("preempted", "its node is about to go")
                curve = self._train()
            last = curve[-1]
            done = last.diverged or last.epoch >= self.plan.training.epochs
            self._keep(done=done, diverged=last.diverged)
        return {
            **self._assignment.costs,  # because a scheduler knows of a trial only what its reports say
            **({"latency_seconds": self._facts["latency_seconds"]} if self.plan.measure_latency else {}),
            **last.metrics,
            **asdict(last),
            "curve": [asdict(result) for result in curve],
            "facts": self._facts,
            "diverged": last.diverged,
            "done": done,
        }

    def _train(self) -> list[EpochResult]:
        """The results of epochs that were trained just now."""
        started = time.monotonic()
        curve: list[EpochResult] = []
        while True:
            with self._not_hanging():
                last = self.train_epoch()
            if set(last.metrics) != set(self.metrics):
                raise ValueError(
                    f"epoch {last.epoch} has the metrics {sorted(last.metrics)}; {type(self).__name__}.metrics "
                    f"declares {sorted(self.metrics)}"
                )
            curve.append(last)
            self._curve.append(last)
            expected_end = (time.monotonic() - started) * (len(curve) + 1) / len(curve)
            if self._is_to_be_reported(last) or expected_end > STEP_SECONDS:
                self._seconds_not_kept += time.monotonic() - started
                return curve

    def _next_unreported(self) -> list[EpochResult]:
        """Results that the checkpoint brought along, up to the next at which the scheduler decides."""
        count = next((n for n, result in enumerate(self._unreported, start=1) if self._is_to_be_reported(result)), None)
        curve, self._unreported = self._unreported[:count], self._unreported[count or len(self._unreported) :]
        return curve

    def _is_to_be_reported(self, result: EpochResult) -> bool:
        if result.diverged or result.epoch >= self.plan.training.epochs or self.plan.milestones is None:
            return True
        return result.epoch in self.plan.milestones

    def _keep(self, *, done: bool, diverged: bool) -> None:
        """Write what the trial can go on from, or at its end the weights."""
        if self._writer is None or self._unreported or diverged:
            return
        assert self.plan.checkpoints is not None, "there is a writer for it"
        if done:
            self._written()  # or what failed of it would not be heard
            with storage_faults_told("written"):
                # The driver may read them as soon as it has the report.
                self.plan.checkpoints.write_weights(self._assignment.trial_id, self.weights())
        elif self._seconds_not_kept >= WORTH_KEEPING_SECONDS:
            self._keep_state()

    def _keep_state(self) -> None:
        """Begin to write what the trial can go on from."""
        state = self.state()
        if self._writer is not None and state is not None:
            with storage_faults_told("written"):
                self._writer.write(self._assignment.trial_id, Checkpoint(self._fingerprint, tuple(self._curve), state))
            self._seconds_not_kept = 0.0

    def _written(self) -> None:
        if self._writer is not None:
            with storage_faults_told("written"):
                self._writer.wait()

    def _not_hanging(self) -> AbstractContextManager[None]:
        known = [self._assignment.expected_seconds, *(result.seconds for result in self._curve)]
        longest = max((seconds for seconds in known if seconds is not None), default=None)
        return process_ends_after(hang_limit(self.plan.faults, longest))

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Called by Ray Tune when the scheduler pauses the trial: its state lies with the others, here is a mark."""
        if self._seconds_not_kept:
            self._keep_state()
        self._written()
        (Path(checkpoint_dir) / "reported.json").write_text(json.dumps(self._curve[-1].epoch))

    def load_checkpoint(self, checkpoint: str) -> None:
        """Called by Ray Tune when a paused trial goes on, after `begin`: the driver knows all up to the mark."""
        reported = json.loads((Path(checkpoint) / "reported.json").read_text())
        self._unreported = [result for result in self._curve if result.epoch > reported]
