"""A run's study, written to an Optuna journal file, which optuna-dashboard and other programs of Optuna's can open.

The trials have the numbers of the record: Optuna's trial 7 is trial 00007. The results that a run imported have no
number in its record, and are left out. An ended trial is one append, because the journal syncs each: only a trial that
is seen before its end takes more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from orchestrator.errors import RunDirectoryError
from orchestrator.record import Event, RecordedRun, RunDirectory, RunEnded, RunState, Trial, read_events
from orchestrator.study.distributions import read_distributions
from orchestrator.study.optuna_internals import StudyAttributes
from orchestrator.study.replay import (
    frozen_trial,
    intermediate_values,
    learned,
    name_metrics,
    user_attributes,
)

POLL_SECONDS = 1.0


def write_journal(run_dir: Path | str, journal: Path | None, *, follow: bool) -> tuple[Path, int]:
    """Write the study of a run; with `follow`, go on until the run has ended.

    Returns:
        The file, and the number of ended trials in it.

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
    mirror = _Mirror(run, journal)
    try:
        for events in _batches(directory) if follow else [list(read_events(directory))]:
            mirror.write(events)
    except OSError as error:
        raise RunDirectoryError(f"{journal} cannot be written: {error.strerror} (--output)") from error
    return journal, sum(trial.status != "running" for trial in mirror.state.trials.values())


class _Mirror:
    """The study in the journal, which follows the events of the run."""

    def __init__(self, run: RecordedRun, journal: Path) -> None:
        self.state = RunState()
        self._run = run
        self._journal = journal
        self._study: optuna.Study | None = None
        self._attributes: StudyAttributes
        self._open: set[int] = set()
        """Numbers of the trials that were written before their end."""

    def write(self, events: Sequence[Event]) -> None:
        """Apply events to the state, and write what they changed."""
        for event in events:
            self.state.apply(event)
        if not self.state.objectives:
            return
        study = self._study = self._study or self._create()
        distributions = read_distributions(self.state.distributions)
        trials = list(self.state.trials.values())
        written = len(study.get_trials(deepcopy=False))
        for number in [number for number in self._open if trials[number].status != "running"]:
            self._end(number, trials[number])
        for number, trial in enumerate(trials[written:], start=written):
            study.add_trial(frozen_trial(trial, self.state, distributions))
            if trial.status == "running":
                self._open.add(number)
        before = self._attributes.read()
        for name, value in self.state.study_attributes.items():
            if before.get(name) != value:
                self._attributes.write(name, value)

    def _create(self) -> optuna.Study:
        storage = JournalStorage(JournalFileBackend(str(self._journal)))
        config, directions = self._run.info.config, list(self.state.objectives.values())
        study = optuna.create_study(study_name=config["run"]["name"], storage=storage, directions=directions)
        name_metrics(study, self.state)
        study.set_user_attr("run", self._run.directory.location)
        for section in ("space", "sampler", "scheduler"):
            study.set_user_attr(section, self._run.info.component(section))
        self._attributes = StudyAttributes(study, storage)
        return study

    def _end(self, number: int, trial: Trial) -> None:
        """End a trial that is in the journal as running."""
        self._open.remove(number)
        assert self._study is not None, "it has the trial"
        state, values, trainings = learned(trial, self.state)
        written = self._study.get_trials(deepcopy=False)[number].intermediate_values
        handle = self._attributes.running_trial(number)
        for epoch, value in intermediate_values(trial, self.state).items():
            if epoch not in written:
                handle.report(value, step=epoch)
        for name, value in (user_attributes(trial, self.state) | trainings).items():
            handle.set_user_attr(name, value)
        self._study.tell(handle, values, state)


def _batches(directory: RunDirectory) -> Iterator[list[Event]]:
    """Yield the events of a log, and those that are still written to it, until the run has ended or died."""
    seen = 0
    while True:
        running = RecordedRun.read(directory).standing == "running"
        started = time.monotonic()
        events = list(read_events(directory, skip=seen))
        seen += len(events)
        yield events
        # A resume may follow the end of a run.
        if not running or (events and isinstance(events[-1], RunEnded)):
            return
        # A log is read from its beginning; a long one on an object store less often.
        time.sleep(max(POLL_SECONDS, 10 * (time.monotonic() - started)))
