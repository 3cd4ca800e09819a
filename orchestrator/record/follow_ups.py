"""Reads what followed a search: its evaluation, retrained networks and exported files; and names its winner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from orchestrator.errors import RunDirectoryError
from orchestrator.record.exports import EXPORTED, ExportedFile, Exports
from orchestrator.record.results import Evaluation, ResultFile, Retrained
from orchestrator.record.run_directory import (
    BEST,
    EVALUATION,
    EVALUATION_RESULT,
    EXAMPLES,
    RETRAIN_RESULT,
    RETRAINED,
    RunDirectory,
)
from orchestrator.record.run_state import RunState
from orchestrator.record.trial import Trial
from trainables.storage import Folder, reason

Kind = TypeVar("Kind", bound=ResultFile)


@dataclass(frozen=True, kw_only=True)
class FollowUps:
    """What was done with the result of a search."""

    evaluation: Evaluation | None
    """The result of the evaluation in the run directory; None if there is none."""
    retrainings: Mapping[str, Retrained | None]
    """The retrained networks, by the names of their folders; None for one that is unfinished."""
    exports: Mapping[str, list[ExportedFile]]
    """The exported files, by the folder of their network in the run directory."""
    examples: Mapping[str, bytes]
    """Drawings of what retrained networks find on test images, as PNG, by the names of their folders."""

    @classmethod
    def read(cls, directory: RunDirectory) -> FollowUps:
        """Read the result files of a run directory.

        Raises:
            RunDirectoryError: one cannot be read, or is malformed.
        """
        retrained = directory.folder / RETRAINED
        names = [name for name in retrained.folders() if not name.startswith(".")]
        folders = {
            BEST: directory.best / EXPORTED,
            **{f"{RETRAINED}/{name}": retrained / name / EXPORTED for name in names},
        }
        exports = {name: Exports.read(folder).files for name, folder in folders.items()}
        return cls(
            evaluation=_read(directory.folder / EVALUATION, EVALUATION_RESULT, Evaluation),
            retrainings={name: _read(retrained / name, RETRAIN_RESULT, Retrained) for name in names},
            exports={name: files for name, files in exports.items() if files},
            examples={name: (retrained / name).read(EXAMPLES) for name in names if (retrained / name).has(EXAMPLES)},
        )

    @property
    def retrained(self) -> dict[str, Retrained]:
        """The retrained networks that are finished."""
        return {name: one for name, one in self.retrainings.items() if one is not None}

    def evaluated_winner(self, state: RunState) -> Trial | None:
        """Return the winner of the evaluation; None if it has none, or the search has gone on since."""
        evaluation = self.evaluation
        if evaluation is None or not evaluation.finished or evaluation.winner is None:
            return None
        return state.trials.get(evaluation.winner) if evaluation.search.cost.trials == state.trained else None

    def winner(self, state: RunState) -> Trial | None:
        """Return the winner: that of the evaluation if it has one, else of the confirmation, else the best trial.

        None if no trial has completed.
        """
        return self.evaluated_winner(state) or state.winner


def _read(folder: Folder, name: str, kind: type[Kind]) -> Kind | None:
    """Read a result file; return None if there is no such file."""
    try:
        if not folder.has(name):
            return None
        return kind.model_validate_json(folder.read(name))
    except OSError as error:
        raise RunDirectoryError(f"{folder / name} cannot be read: {reason(error)}") from error
    except ValidationError as error:
        raise RunDirectoryError(f"{folder / name} is malformed: {error.errors()[0]['msg']}") from error
