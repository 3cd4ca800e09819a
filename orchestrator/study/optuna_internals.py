"""Internals of Optuna that a study uses: the name of each, and the Optuna version in which it was read.

Samplers note what they must keep between trials in the study's storage, as "system attributes". The methods for these
have public names, but their documentation says that only Optuna itself should call them. Without one of them a search
continues, and the warning says what is lost. The samplers' one access is in `orchestrator.samplers.seeded`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
from optuna.storages import BaseStorage

from trainables.library_internals import Internal

READ_IN = "5.0.0"

_NOT_RECORDED = "what a sampler notes in the study is not recorded, so a resumed search may continue otherwise"

READ_ATTRIBUTES = Internal("optuna", "get_study_system_attrs", READ_IN, _NOT_RECORDED)
READ_TRIAL_ATTRIBUTES = Internal("optuna", "system_attrs", READ_IN, _NOT_RECORDED)
WRITE_ATTRIBUTE = Internal(
    "optuna", "set_study_system_attr", READ_IN, "a sampler does not see its notes of earlier trials"
)
TRIAL_ID = Internal(
    "optuna",
    "get_trial_id_from_study_id_trial_number",
    READ_IN,
    "a trial's number is taken for its id, as both are in a new storage of one study",
)


class StudyAttributes:
    """The system attributes of a study and its trials.

    Args:
        study: the study.
        storage: where it lies; no other study does.
    """

    def __init__(self, study: optuna.Study, storage: BaseStorage) -> None:
        self._study = study
        self._storage = storage
        self._study_id = storage.get_study_id_from_name(study.study_name)

    def read(self) -> dict[str, Any]:
        """Return a copy of the study's attributes."""
        read = READ_ATTRIBUTES.read(self._storage)
        return {} if read is None else dict(read(self._study_id))

    def write(self, name: str, value: Any) -> None:
        """Set an attribute of the study."""
        write = WRITE_ATTRIBUTE.read(self._storage)
        if write is not None:
            write(self._study_id, name, value)

    def read_trial(self, number: int) -> dict[str, Any]:
        """Return a copy of a trial's attributes."""
        # Not by `Study.get_trials`, which copies the list of all trials at every proposal.
        return dict(READ_TRIAL_ATTRIBUTES.read(self._storage.get_trial(self._id_of(number))) or {})

    def running_trial(self, number: int) -> optuna.Trial:
        """Return an `optuna.Trial` for a running trial that another process asked for."""
        return optuna.Trial(self._study, self._id_of(number))

    def _id_of(self, number: int) -> int:
        find = TRIAL_ID.read(self._storage)
        return number if find is None else int(find(self._study_id, number))


def call_on_stop(study: optuna.Study, stopped: Callable[[], None]) -> None:
    """Have `stopped` called if the sampler stops the study, as Optuna's do that have gone through all there is.

    `optuna.Study.stop` itself raises outside of `optimize`, and only `optimize` reads its mark.
    """
    study.stop = stopped  # type: ignore[method-assign]
