"""Weights & Biases: a project per search, a run per trial, through `wandb.init`, `run.log` and `run.finish`.

All runs of the driver share one process of W&B's (`wandb-core`). A run is open only while its trial has a worker.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, final

from orchestrator.errors import last_line
from orchestrator.record import EpochDone
from orchestrator.tracking.completed import Completed
from orchestrator.tracking.tracked_trial import TrackedTrial, result_of

UPLOAD_SECONDS = 60
"""How long the server may take to open a run, or to finish one with all its uploads."""

SETTINGS = "set WANDB_API_KEY (or run `wandb login`), and WANDB_BASE_URL for a server of your own"

Mode = Literal["online", "offline"]


@final
class WeightsAndBiases:
    """Writes the trials of one search as runs, with their files in `folder`.

    A trial that begins again writes its whole curve again. Offline, its files are replaced; online, the server knows
    the run by its id and ignores the steps that it has.

    Args:
        common: arguments of `wandb.init` that all runs share.
        folder: of the runs' files; W&B wants it to be called `wandb`.
    """

    def __init__(self, common: Mapping[str, Any], folder: Path) -> None:
        self._common = common
        self._folder = folder
        self._completed = Completed(folder)
        self.complete = self._completed.names
        self._runs: dict[str, Any] = {}

    def begin(self, trial: TrackedTrial) -> None:
        """Open the trial's run and write its curve so far."""
        import wandb

        for old in self._folder.glob(f"offline-run-*-{trial.trial_id}"):
            shutil.rmtree(old)
        self._runs[trial.name] = wandb.init(id=trial.trial_id, name=trial.name, config=trial.config, **self._common)
        for row in trial.curve:
            self.epoch(trial, row)

    def epoch(self, trial: TrackedTrial, row: EpochDone) -> None:
        """Log the metrics of one epoch."""
        self._runs[trial.name].log(result_of(row), step=row.epoch)

    def end(self, trial: TrackedTrial) -> None:
        """Finish the run and wait for its uploads; a paused trial opens it again.

        Raises:
            TimeoutError: the uploads took longer than `UPLOAD_SECONDS`.
        """
        run = self._runs.pop(trial.name)
        if trial.status is not None:
            run.config.update({**trial.config, "status": trial.status}, allow_val_change=True)
        run.finish()
        if trial.status is not None:
            self._completed.add(trial.name)

    def close(self) -> None:
        """Finish what an error has left open."""
        for run in self._runs.values():
            with contextlib.suppress(Exception):  # the error that ended the tracking is the one to report
                run.finish()


@contextlib.contextmanager
def wandb(mode: Mode, *, project: str, group: str, folder: Path) -> Iterator[WeightsAndBiases]:
    """Write into the project of this name, with files in `folder`, which must be called `wandb`.

    Raises:
        RuntimeError: the mode is online, and there is no API key or W&B's server refuses what is sent.
    """
    import wandb as tool

    tool.setup(tool.Settings(silent=True, mode=mode))
    # Or `wandb.init` would ask for a key on the terminal.
    if mode == "online" and not _log_in():
        raise RuntimeError("no API key; run `wandb login` or set WANDB_API_KEY")
    folder.mkdir(parents=True, exist_ok=True)
    settings = tool.Settings(
        console="off",  # or every run would record the driver's output
        stop_fn=lambda: None,  # or stopping a run on W&B's page would interrupt the search
        init_timeout=UPLOAD_SECONDS,
        finish_timeout=UPLOAD_SECONDS,
        finish_timeout_raises=True,
    )
    common = {
        "mode": mode,
        "project": project,
        "group": group,
        "dir": str(folder.parent),
        "resume": "allow",
        "reinit": "create_new",  # several runs at a time
        "allow_val_change": True,
        "settings": settings,
    }
    tracker = WeightsAndBiases(common, folder)
    try:
        yield tracker
    except tool.errors.CommError as error:  # the server's, that the key is wrong among them
        raise RuntimeError(f"{last_line(error)}; {SETTINGS}") from error
    finally:
        tracker.close()


def _log_in() -> bool:
    import wandb as tool

    try:
        return bool(tool.login(prompt=False, verify=False))
    except (tool.errors.Error, ValueError) as error:  # a key of the wrong form
        raise RuntimeError(f"{last_line(error)}; {SETTINGS}") from error
