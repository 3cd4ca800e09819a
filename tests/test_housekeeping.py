"""What is left in a run directory, and what is removed from it when."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.record.run_state import RunState
from orchestrator.search.checkpoint_cleanup import CheckpointCleanup
from tests.builders import RUN
from trainables.checkpoints import Checkpoint, CheckpointFolder
from trainables.instant_trainable import made_up_result
from trainables.storage import Folder


def checkpoint(fingerprint: str, epochs: int) -> Checkpoint:
    curve = tuple(made_up_result(0.5, epoch) for epoch in range(1, epochs + 1))
    return Checkpoint(fingerprint, curve, b"state")


def test_checkpoints_of_a_trial_that_the_record_lost_make_room_for_those_of_the_next_one_of_its_name(
    tmp_path: Path,
) -> None:
    checkpoints = CheckpointFolder(Folder.at(tmp_path))
    checkpoints.write("00005", checkpoint("still running", 1))
    for epochs in (8, 9):
        checkpoints.write("00006", checkpoint("lost", epochs))
    with CheckpointCleanup(checkpoints, RunState.replay(RUN), keep=1):
        checkpoints.write("00006", checkpoint("another", 1))
        found = checkpoints.newest("00006", "another")
        assert found is not None
        assert found.epoch == 1
        assert checkpoints.newest("00005", "still running") is not None


@pytest.mark.parametrize("stray", [".DS_Store", "notes", ".cache/x"])
def test_what_is_no_trials_stays_among_the_checkpoints(stray: str, tmp_path: Path) -> None:
    checkpoints = CheckpointFolder(Folder.at(tmp_path))
    checkpoints.folder.write(stray, b"")
    checkpoints.write("00000", checkpoint("of no trial", 1))
    CheckpointCleanup(checkpoints, RunState(), keep=1).sweep()
    assert checkpoints.trial_ids() == []
    assert checkpoints.folder.has(stray)
