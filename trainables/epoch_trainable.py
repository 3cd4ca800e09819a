"""Base class of all trainables: turns epochs into the steps, reports and checkpoints of Ray Tune. No torch.

Knows when to report; does not know how an epoch is trained. Derive your own trainable from `EpochTrainable`.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from search_spaces import Architecture
from trainables.assignment import Assignment, Resample
from trainables.checkpoints import Checkpoint, CheckpointWriter
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult
from trainables.faults import CandidateFault, wrap_faults, wrap_storage_faults
from trainables.folds import resample_splits
from trainables.hang import end_process_after, hang_limit
from trainables.preemption import node_is_draining
from trainables.trial_plan import TrialPlan

STEP_SECONDS = 1.0
"""One report covers epochs of about this many seconds, because each report costs the driver milliseconds."""

MAX_CLOCK_SECONDS = 24 * 3600
"""An epoch's `ended_at` may differ by this much from the worker's clock. More is another unit or another clock."""

MIN_CHECKPOINT_SECONDS = 0.05
"""Epochs that take less than this in total are cheaper to retrain than to checkpoint durably."""


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

    score_bounds: tuple[float, float] | None = (0.0, 1.0)
    """The lowest and the highest possible accuracy, such as (0, 100) for percent; None if nothing bounds it. A search
    records them. An accuracy outside is an error of the trial. Without bounds no standard error is computed."""

    _fault: CandidateFault | None = None
    """What ended the start of the current trial."""

    micro_batches = 1
    """Number of parts into which to split each batch, above 1 after the candidate ran out of memory. Set before `begin`
    is called."""

    @classmethod
    def check(cls, plan: TrialPlan) -> None:
        """Check the plan once before the search starts, without torch; ValueError if no candidate can be trained."""

    @classmethod
    def gpu_bytes(cls, plan: TrialPlan, data: DataSplits) -> int | None:
        """Estimate the GPU memory in bytes that a trial needs, without torch; None if it is not known.

        `resources.gpus_per_trial = "auto"` shares GPUs by it. If it is not known, each trial gets a whole GPU.
        """
        return None

    @classmethod
    def rehearsal(cls, plan: TrialPlan) -> Callable[[DataSplits], None] | None:
        """Return, without torch, what is called with the data in a worker before the first trial; None: nothing.

        It tries the user's own parts of the trainable, and raises a ValueError that names the one that is wrong.
        """
        return None

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
        """Train the candidate for one epoch and score it.

        The first call after `begin` returns epoch 1, or after `load_state` the epoch that follows the state's; each
        further call returns the next epoch.
        """

    @abstractmethod
    def weights(self) -> bytes:
        """The candidate's weights in the safetensors format."""

    def state(self) -> bytes | None:
        """Everything that `load_state` needs to continue; None if the trainable can only start again.

        Random numbers should depend on `plan.seed` and the epoch, so that they are not part of it.
        """
        return None

    def load_state(self, state: bytes) -> None:
        """Continue from a state that `state` returned. Called right after `begin`."""
        raise NotImplementedError(
            f"{type(self).__name__} defines state but not load_state; define both, or return None from state"
        )

    def setup(self, config: Mapping[str, Any], plan: TrialPlan, data: list[Any]) -> None:
        """Called by Ray Tune when the worker starts; `data` holds a Ray reference to the `DataSplits`.

        The reference is in a list. If it were passed by itself, Ray Tune would resolve it, and `data` would be the
        `DataSplits`.
        """
        self.plan = plan
        self._writer = None if plan.checkpoints is None else CheckpointWriter(plan.checkpoints)
        self._run_data, self._run_seed = data[0], plan.seed
        self._prepared: tuple[Resample | None] | None = None
        try:
            self._start_trial(config)
        except CandidateFault as fault:
            self._fault = fault  # raised by `step`, because Ray reports an exception in `setup` as a dead worker

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Called by Ray Tune to reuse this worker, its imports and its data for the next candidate."""
        self._start_trial(new_config)
        return True

    def _start_trial(self, config: Mapping[str, Any]) -> None:
        # The folder of a trial that was stopped may have been removed before its last checkpoint was written.
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.wait()
        self._fault = None
        self._assignment, params = Assignment.from_config(config)
        self.micro_batches = self._assignment.micro_batches
        self._curve: list[EpochResult] = []
        self._unreported: list[EpochResult] = []
        self._unsaved_seconds = 0.0
        run_data: DataSplits = ray.get(self._run_data)  # an error of Ray is not one of the candidate
        with self._wrap_faults():
            self._prepare(run_data, self._assignment.resample)
            architecture = self.plan.space.decode(params)
            self._fingerprint = architecture.fingerprint
            with self._time_limit():
                self._facts = self.begin(architecture)
                self._check_facts()
                self._restore()

    def _prepare(self, data: DataSplits, resample: Resample | None) -> None:
        """Prepare the images and the seed of the run, or those of one training of an evaluation."""
        if self._prepared == (resample,):
            return
        self._prepared = None
        seed = self._run_seed
        if resample is not None:
            data, seed = resample_splits(data, resample), resample.seed
        self.plan = replace(self.plan, seed=seed)
        self.prepare(data)
        self._prepared = (resample,)

    def _check_facts(self) -> None:
        """Refuse what `begin` returned if the record cannot hold it.

        Raises:
            ValueError: the message says what is wrong.
        """
        name, facts = f"{type(self).__name__}.begin", self._facts
        needed = {"device", "latency_seconds"} if self.plan.measure_latency else {"device"}
        if not isinstance(facts, dict) or not needed <= set(facts) <= {"device", "latency_seconds"}:
            returned = sorted(facts) if isinstance(facts, dict) else facts
            raise ValueError(
                f"{name} returned {returned!r}; it must return 'device', and with trainable.measure_latency "
                "'latency_seconds'"
            )
        if not isinstance(facts["device"], str):
            raise ValueError(f"{name} returned the device {facts['device']!r}; text is needed, such as 'cpu'")
        seconds = facts.get("latency_seconds", 0.0)
        if not (isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"{name} returned latency_seconds = {seconds!r}; a number of at least 0 is needed")

    def _restore(self) -> None:
        """Continue from the trial's newest intact checkpoint of the same architecture, if there is one.

        Epochs of the checkpoint that the record lacks are reported without training. If the checkpoint is older than
        the record, epochs are trained again, and the recorder drops their results.
        """
        if self.plan.checkpoints is None:
            return
        with wrap_storage_faults("read"):
            checkpoint = self.plan.checkpoints.newest(self._assignment.trial_id, self._fingerprint)
        if checkpoint is not None:
            self.load_state(checkpoint.state)
            self._curve = list(checkpoint.curve)
            self._unreported = [result for result in self._curve if result.epoch > self._assignment.epochs_on_record]

    def step(self) -> dict[str, Any]:
        """Train for about a second, but at least one epoch and never past a milestone.

        Ray Tune hands the report to the scheduler, and to `Recorder.on_trial_result` in the driver.
        """
        if self._fault is not None:
            raise self._fault
        with self._wrap_faults():
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
            self._check_result(last)
            curve.append(last)
            self._curve.append(last)
            expected_end = (time.monotonic() - started) * (len(curve) + 1) / len(curve)
            if self._must_report(last) or expected_end > STEP_SECONDS:
                self._unsaved_seconds += time.monotonic() - started
                return curve

    def _check_result(self, result: EpochResult) -> None:
        """Refuse a result that is not one of the next epoch: it would mislead or end the whole search.

        Raises:
            ValueError: the message says what is wrong.
        """
        name = type(self).__name__
        if not isinstance(result, EpochResult):
            raise ValueError(f"{name}.train_epoch returned {type(result).__name__}; it must return an EpochResult")
        expected = self._curve[-1].epoch + 1 if self._curve else 1
        if result.epoch != expected:
            raise ValueError(f"{name}.train_epoch returned epoch {result.epoch}; the next epoch is {expected}")
        if set(result.metrics) != set(self.metrics):
            raise ValueError(
                f"epoch {result.epoch} has the metrics {sorted(result.metrics)}; {name}.metrics declares "
                f"{sorted(self.metrics)}"
            )
        clock = time.time()
        if abs(result.ended_at - clock) > MAX_CLOCK_SECONDS:
            raise ValueError(
                f"ended_at of epoch {result.epoch} is {result.ended_at:.0f}; it must be within a day of time.time(), "
                f"which is {clock:.0f}"
            )
        if self.score_bounds is None:
            return
        low, high = self.score_bounds
        for score in ("train_accuracy", "val_accuracy"):
            value = getattr(result, score)
            if math.isfinite(value) and not low <= value <= high:
                raise ValueError(
                    f"{score} of epoch {result.epoch} is {value}; it must be {low:g} to {high:g} ({name}.score_bounds)"
                )

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

    @contextmanager
    def _wrap_faults(self) -> Iterator[None]:
        """Run the trainable's code in the folder of the command, and reraise its exceptions as a `CandidateFault`."""
        with wrap_faults(), contextlib.nullcontext() if self.plan.home is None else self.plan.home.entered():
            yield

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
        """Called by Ray Tune after `begin` when a trial continues that was paused in this session of the search.

        Reads what `save_checkpoint` wrote. After a resume only `_restore` is called.
        """
        reported = json.loads((Path(checkpoint) / "reported.json").read_text())
        self._unreported = [result for result in self._curve if result.epoch > reported]
