"""The record of a retraining: what is read again, whatever the storage does."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, RunDirectoryError, SearchError
from orchestrator.networks.retraining.record import (
    Asked,
    EpochTrained,
    NetworkTested,
    RetrainEvent,
    RetrainFolder,
    RetrainInfo,
    RetrainLog,
    RetrainState,
    TrainingBegun,
    TrainingEnded,
)
from orchestrator.networks.retraining.result import result_of
from orchestrator.networks.retraining.tables import retraining_notes
from orchestrator.record.events import now
from tests.object_store import ObjectStore
from trainables.storage import Folder

TESTED = NetworkTested(number=1, accuracy={0: 0.9, 1: 0.1}, loss={0: 0.5, 1: None}, device="cpu", latency_seconds=0.01)


def info(epochs: int = 3) -> RetrainInfo:
    asked = Asked.model_validate(
        {
            "network": {},
            "training": {"epochs": epochs},
            "seeds": [0],
            "early_stopping": None,
            "ema": 0.0,
            "images": "0",
            "weights": None,
            "freeze": False,
        }
    )
    return RetrainInfo(asked=asked, started_at=now(), command=[], host="here", versions={}, commit=None, data={})


def begun(epoch: int = 0) -> TrainingBegun:
    return TrainingBegun(seed=0, epoch=epoch, workers=1, compiled=False)


def epoch(number: int, loss: float = 1.0) -> EpochTrained:
    return EpochTrained(
        seed=0,
        epoch=number,
        train_loss=loss,
        train_accuracy=0.5,
        val_loss=None,
        val_accuracy=None,
        learning_rate=0.1,
        seconds=1.0,
        images_per_second=1.0,
    )


def test_what_is_written_is_read_again_a_loss_that_is_no_number_too(tmp_path: Path) -> None:
    folder = RetrainFolder(Folder.at(tmp_path / "run" / "retrain" / "best"))
    with folder.opened(info()) as (log, kept):
        for event in (begun(), epoch(1), epoch(2), begun(1), epoch(2, loss=3.0), TrainingEnded(seed=0, kept_epoch=2)):
            log.append(event)
        log.append(TESTED)
        assert folder.state() == kept
    state = folder.state()
    assert [(row.epoch, row.train_loss) for row in state.epochs[0]] == [(1, 1.0), (2, 3.0)]  # the second was repeated
    assert state.tested == TESTED


def test_other_settings_are_refused_though_they_came_meanwhile(tmp_path: Path) -> None:
    folder = RetrainFolder(Folder.at(tmp_path))
    folder.check_same(info(4).asked)
    with folder.opened(info(3)):  # another process begins with settings of its own
        pass
    with pytest.raises(ConfigError, match=r"training.epochs was 3, and is 4"), folder.opened(info(4)):
        pytest.fail("it was opened")
    with folder.opened(info(3)), pytest.raises(RunDirectoryError), folder.opened(info(3)):
        pytest.fail("two processes write it")


def test_a_record_that_was_copied_from_an_object_store_goes_on(object_store: ObjectStore, tmp_path: Path) -> None:
    away = Folder.at(object_store.uri(f"bucket/{tmp_path.name}"))
    with RetrainFolder(away).opened(info()) as (log, _):
        log.append(begun())
        log.append(epoch(1))
    for name in away.names():
        if name == "events":
            for part in (away / name).names():
                (away / name).copy(part, Folder.at(tmp_path) / name)
        else:
            away.copy(name, Folder.at(tmp_path))
    here = RetrainFolder(Folder.at(tmp_path))
    assert len(here.state().epochs[0]) == 1
    with here.opened(info()) as (log, _):
        log.append(TESTED)
    assert here.state().tested == TESTED
    assert len(here.state().epochs[0]) == 1


def test_an_epoch_of_a_training_that_was_not_begun_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(epoch(1).model_dump_json() + "\n")
    with pytest.raises(RunDirectoryError, match="events.jsonl is corrupt: an epoch of seed 0 comes before the seed's"):
        RetrainFolder(Folder.at(tmp_path)).state()


def test_a_storage_that_fails_is_told_once() -> None:
    class Failing:
        location = "s3://bucket/run"

        def write(self, lines: bytes, *, at_once: bool) -> None:
            raise OSError(5, "no")

        def close(self) -> None:
            raise OSError(5, "no")

    log = RetrainLog(Failing())
    with pytest.raises(SearchError, match=r"s3://bucket/run cannot be written: Input/output error \(run.storage\)"):
        log.append(begun())
    log.close()
    with pytest.raises(SearchError, match="cannot be written"):
        RetrainLog(Failing()).close()


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        ([], "1 epoch so far; the same command goes on"),
        ([TrainingEnded(seed=0, kept_epoch=1)], "trained (1 epoch), not tested yet; the same command tests it"),
        ([TrainingEnded(seed=0, kept_epoch=None)], "not tested, because all trainings diverged"),
    ],
)
def test_a_network_that_is_not_tested_says_why(ended: list[TrainingEnded], words: str) -> None:
    state = RetrainState()
    events: list[RetrainEvent] = [begun(), epoch(1), *ended]
    for event in events:
        state.apply(event)
    result = result_of("last", location="there", costs=(1, 1), asked=info().asked, state=state, score="accuracy")
    assert retraining_notes([result]) == f"last: {words}; in there"
