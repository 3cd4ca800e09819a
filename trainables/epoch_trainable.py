"""Base class of all trainables: turns epochs into the steps, reports and checkpoints of Ray Tune. No torch.

Knows when to report; does not know how an epoch is trained. Derive your own trainable from `EpochTrainable`.
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
from trainables.faults import CandidateFault, wrap_faults, wrap_storage_faults
from trainables.folds import resample_splits
from trainables.hang import end_process_after, hang_limit
from trainables.network_spec import NetworkSpec
from trainables.own_operations import build_operation
from trainables.preemption import node_is_draining
from trainables.settings import FaultSettings, NetworkSettings, TrainingSettings
from trainables.skeleton import Skeleton

STEP_SECONDS = 1.0
"""One report covers epochs of about this many seconds, because each report costs the driver milliseconds."""

MIN_CHECKPOINT_SECONDS = 0.05
"""Epochs that take less than this in total are cheaper to retrain than to checkpoint durably."""


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """What all trials of a run have in common, except the images."""

    space: CellSpace
    skeleton: Skeleton
    network: NetworkSettings
    training: TrainingSettings
    image_shape: tuple[int, int, int]
    """Height, width and channels."""
    classes: int
    """Number of classes."""
    milestones: tuple[int, ...] | None
    """Epochs at which the scheduler decides; None: at every epoch."""
    seed: int
    threads: int
    """CPUs that Ray allots to a trial."""
    measure_latency: bool = False
    """Whether `begin` returns `latency_seconds`."""
    faults: FaultSettings = field(default_factory=FaultSettings)
    checkpoints: CheckpointFolder | None = None
    """Where checkpoints and weights are written; None: nowhere."""

    def network_spec(self, architecture: Architecture) -> NetworkSpec:
        """The network of a candidate with this architecture."""
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
        """A candidate's costs, computed without training: parameters, and multiply-adds and activation bytes per image.

        Needs no torch and takes about a millisecond.
        """
        return asdict(network_costs(self.network_spec(architecture)))

    def check(self) -> None:
        """Raise ValueError if the settings do not allow a network, or an operation of the space cannot be built."""
        filters = self.example().filters
        for name in self.space.operations:
            for stride in (1, 2):
                build_operation(name, filters, filters, stride=stride, rules=self.skeleton.operations)

    def example(self) -> NetworkSpec:
        """The network of a candidate drawn with the run's seed; ValueError if the settings do not allow a network."""
        return self.network_spec(self.space.sample(np.random.default_rng(self.seed)))


class EpochTrainable(tune.Trainable, ABC):
    """A worker that trains candidates one after another.

    Each report of `step()` holds the fields and further metrics of the last `EpochResult`; the candidate's costs and
    latency; `curve`, the results of all epochs since the previous report; `facts`, what `begin` returned; and
    `diverged`.

    A checkpoint is written in the background after each report, unless retraining its epochs would be faster than
    writing it. The weights are written after the last epoch. An interrupted trial continues from its newest checkpoint.
    Epochs in the checkpoint that are missing from the record are reported first, without training them again.
    """

    plan: TrialPlan
    """The run's plan; in an evaluation, `plan.seed` is the seed of the current training."""

    metrics: tuple[str, ...] = ()
    """Names of the further metrics of its `EpochResult`s. They can be objectives of a search."""

    micro_batches = 1
    """Number of parts into which to split each batch, above 1 after the candidate ran out of memory. Set before `begin`
    is called."""

    @classmethod
    def check(cls, plan: TrialPlan) -> None:
        """Check the plan once before the search starts, without torch; ValueError if no candidate can be trained."""

    @abstractmethod
    def prepare(self, data: DataSplits) -> None:
        """Load the images. Called once per worker; in an evaluation, whenever the fold or the seed changes.

        The arrays may be read-only memory that all workers of a node share.
        """

    @abstractmethod
    def begin(self, architecture: Architecture) -> dict[str, Any]:
        """Drop the previous candidate and build this one.

        Returns:
            `device`; with `plan.measure_latency` also `latency_seconds`, for one image on that device.
        """

    @abstractmethod
    def train_epoch(self) -> EpochResult:
        """Train the candidate for one epoch and score it."""

    @abstractmethod
    def weights(self) -> bytes:
        """The candidate's weights in the safetensors format."""

    def state(self) -> bytes | None:
        """Everything that `load_state` needs to continue; None if the trainable can only start again."""
        return None

    def load_state(self, state: bytes) -> None:
        """Continue from a state that `state` returned. Called right after `begin`."""
        raise NotImplementedError(
            f"{type(self).__name__} defines state but not load_state; define both, or return None from state"
        )

    def setup(self, config: Mapping[str, Any], plan: TrialPlan, data: list[Any]) -> None:
        """Called by Ray Tune when the worker starts; `data` holds a Ray reference to the `DataSplits`.

        The reference is in a list because Ray would resolve a bare one on behalf of the driver.
        """
        self.plan = plan
        self._writer = None if plan.checkpoints is None else CheckpointWriter(plan.checkpoints)
        self._run_data, self._run_seed = data[0], plan.seed
        self._prepared: tuple[Resample | None] | None = None
        self._start_trial(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Called by Ray Tune to reuse this worker, its imports and its data for the next candidate."""
        self._start_trial(new_config)
        return True

    def _start_trial(self, config: Mapping[str, Any]) -> None:
        self._assignment, params = Assignment.from_config(config)
        self.micro_batches = self._assignment.micro_batches
        self._curve: list[EpochResult] = []
        self._unreported: list[EpochResult] = []
        self._unsaved_seconds = 0.0
        self._prepare(self._assignment.resample)
        architecture = self.plan.space.decode(params)
        self._fingerprint = architecture.fingerprint
        with wrap_faults(), self._time_limit():
            self._facts = self.begin(architecture)
            if set(self._facts) - {"latency_seconds"} != {"device"}:
                raise ValueError(
                    f"{type(self).__name__}.begin returned {sorted(self._facts)}; it must return 'device', and may "
                    "return 'latency_seconds'"
                )
            self._restore()

    def _prepare(self, resample: Resample | None) -> None:
        """Prepare the images and the seed of the run, or those of one training of an evaluation."""
        if self._prepared == (resample,):
            return
        self._prepared = None
        seed = self._run_seed
        with wrap_faults():
            data: DataSplits = ray.get(self._run_data)
            if resample is not None:
                data, seed = resample_splits(data, resample), resample.seed
            self.plan = replace(self.plan, seed=seed)
            self.prepare(data)
        self._prepared = (resample,)

    def _restore(self) -> None:
        """Continue from the newest checkpoint, if there is one."""
        if self.plan.checkpoints is None:
            return
        with wrap_storage_faults("read"):
            checkpoint = self.plan.checkpoints.newest(self._assignment.trial_id, self._fingerprint)
        if checkpoint is not None:
            self.load_state(checkpoint.state)
            self._curve = list(checkpoint.curve)
            self._unreported = [result for result in self._curve if result.epoch > self._assignment.epochs]

    def step(self) -> dict[str, Any]:
        """Train for about a second, but at least one epoch and never past a milestone.

        Ray Tune hands the report to the scheduler, and to `Recorder.on_trial_result` in the driver.
        """
        with wrap_faults():
            if self._unreported:
                curve = self._take_unreported()
            else:
                if node_is_draining():
                    self._wait_for_writer()
                    raise CandidateFault("preempted", "its node is about to be removed")
                curve = self._train()
            last = curve[-1]
            done = last.diverged or last.epoch >= self.plan.training.epochs
            self._save(done=done, diverged=last.diverged)
        return {
            **self._assignment.costs,  # a scheduler sees nothing of a trial but its reports
            **({"latency_seconds": self._facts["latency_seconds"]} if self.plan.measure_latency else {}),
            **last.metrics,
            **asdict(last),
            "curve": [asdict(result) for result in curve],
            "facts": self._facts,
            "diverged": last.diverged,
            "done": done,
        }

    def _train(self) -> list[EpochResult]:
        """Train the epochs of the next report and return their results."""
        started = time.monotonic()
        curve: list[EpochResult] = []
        while True:
            with self._time_limit():
                last = self.train_epoch()
            if set(last.metrics) != set(self.metrics):
                raise ValueError(
                    f"epoch {last.epoch} has the metrics {sorted(last.metrics)}; {type(self).__name__}.metrics "
                    f"declares {sorted(self.metrics)}"
                )
            curve.append(last)
            self._curve.append(last)
            expected_end = (time.monotonic() - started) * (len(curve) + 1) / len(curve)
            if self._must_report(last) or expected_end > STEP_SECONDS:
                self._unsaved_seconds += time.monotonic() - started
                return curve

    def _take_unreported(self) -> list[EpochResult]:
        """Take the unreported results of the checkpoint, up to the next epoch at which the scheduler decides."""
        count = next((n for n, result in enumerate(self._unreported, start=1) if self._must_report(result)), None)
        curve, self._unreported = self._unreported[:count], self._unreported[count or len(self._unreported) :]
        return curve

    def _must_report(self, result: EpochResult) -> bool:
        """Whether a report must end with this epoch."""
        if result.diverged or result.epoch >= self.plan.training.epochs or self.plan.milestones is None:
            return True
        return result.epoch in self.plan.milestones

    def _save(self, *, done: bool, diverged: bool) -> None:
        """Write a checkpoint, or after the last epoch the weights."""
        if self._writer is None or self._unreported or diverged:
            return
        assert self.plan.checkpoints is not None, "there is a writer, so there is a folder"
        if done:
            self._wait_for_writer()  # raises if the last checkpoint could not be written
            with wrap_storage_faults("written"):
                # In this thread: the driver may read the weights as soon as it has the report.
                self.plan.checkpoints.write_weights(self._assignment.trial_id, self.weights())
        elif self._unsaved_seconds >= MIN_CHECKPOINT_SECONDS:
            self._write_checkpoint()

    def _write_checkpoint(self) -> None:
        """Start to write a checkpoint in the background, if the trainable has a state."""
        state = self.state()
        if self._writer is not None and state is not None:
            with wrap_storage_faults("written"):
                self._writer.write(self._assignment.trial_id, Checkpoint(self._fingerprint, tuple(self._curve), state))
            self._unsaved_seconds = 0.0

    def _wait_for_writer(self) -> None:
        if self._writer is not None:
            with wrap_storage_faults("written"):
                self._writer.wait()

    def _time_limit(self) -> AbstractContextManager[None]:
        """Ends this process if the block takes longer than any epoch should."""
        known = [self._assignment.expected_seconds, *(result.seconds for result in self._curve)]
        longest = max((seconds for seconds in known if seconds is not None), default=None)
        return end_process_after(hang_limit(self.plan.faults, longest))

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Called by Ray Tune when the scheduler pauses the trial.

        The state goes into the run directory; `checkpoint_dir` only gets the number of the last reported epoch.
        """
        if self._unsaved_seconds:
            self._write_checkpoint()
        self._wait_for_writer()
        (Path(checkpoint_dir) / "reported.json").write_text(json.dumps(self._curve[-1].epoch))

    def load_checkpoint(self, checkpoint: str) -> None:
        """Called by Ray Tune after `begin` when a paused trial continues; reads what `save_checkpoint` wrote."""
        reported = json.loads((Path(checkpoint) / "reported.json").read_text())
        self._unreported = [result for result in self._curve if result.epoch > reported]
