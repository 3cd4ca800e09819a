"""A run's study, written to an Optuna journal file, which optuna-dashboard and other programs of Optuna's can open.

Each trial is appended at once, when it has ended: step by step, the journal would need a synced write for every
parameter. So Optuna's numbers there are in the order of the ends; our id is the attribute `trial_id` of a trial.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from orchestrator.errors import RunDirectoryError
from orchestrator.record import (
    Event,
    RecordedRun,
    RunDirectory,
    RunEnded,
    RunStarted,
    RunState,
    TrialEnded,
    TrialImported,
    read_events,
)
from orchestrator.study.distributions import read_distributions
from orchestrator.study.replay import frozen_trial

POLL_SECONDS = 1.0


def write_journal(run_dir: Path | str, journal: Path | None, *, follow: bool) -> tuple[Path, int]:
    """Write the study of a run; with `follow`, go on until the run has ended. The file, and how many trials it holds.

    Raises:
        RunDirectoryError: there is no run, its log is corrupt, or the journal exists already or cannot be written.
    """
    run = RecordedRun.read(run_dir)
    directory = run.directory
    if journal is None:
        if directory.folder.local_path is None:
            raise RunDirectoryError(
                f"{directory} is on an object store, to which Optuna writes no journal; name a file here by --output"
            )
        journal = directory.folder.local_path / "study.journal"
    if journal.exists():
        raise RunDirectoryError(f"{journal} exists already; remove it or choose another --output")
    events = _growing(directory) if follow else read_events(directory)
    try:
        return journal, _write(events, journal, run.info.config["run"]["name"])
    except OSError as error:
        raise RunDirectoryError(f"{journal} cannot be written: {error.strerror} (--output)") from error


def _write(events: Iterable[Event], journal: Path, name: str) -> int:
    state, study, distributions, count = RunState(), None, {}, 0
    for event in events:
        state.apply(event)
        if isinstance(event, RunStarted) and study is None:
            storage = JournalStorage(JournalFileBackend(str(journal)))
            directions = list(state.objectives.values())
            study = optuna.create_study(study_name=name, storage=storage, directions=directions)
            distributions = read_distributions(state.distributions)
        elif isinstance(event, TrialEnded | TrialImported):
            assert study is not None, "a log begins with the start of the run"
            study.add_trial(frozen_trial(state.find(event.trial_id), state, distributions))
            count += 1
    return count


def _growing(directory: RunDirectory) -> Iterator[Event]:
    """Yield the events of a log, and those that are still written to it, until the run has ended or died."""
    seen = 0
    while True:
        running = RecordedRun.read(directory).standing == "running"
        started, has_ended = time.monotonic(), False
        for event in read_events(directory, skip=seen):
            yield event
            seen += 1
            has_ended = isinstance(event, RunEnded)  # a resume may follow
        if has_ended or not running:
            return
        # A log is read from its beginning; a long one on an object store less often.
        time.sleep(max(POLL_SECONDS, 10 * (time.monotonic() - started)))
