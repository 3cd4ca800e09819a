"""A search that has ended: its settings and what it was run on, for whatever follows it. Does not read its events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.config import SearchConfig, change_config
from orchestrator.errors import ConfigError, RunDirectoryError
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_info import ENDED, RunInfo


@dataclass(frozen=True)
class EndedSearch:
    """Where it is, what `run.json` says, and its settings."""

    directory: RunDirectory
    info: RunInfo
    config: SearchConfig

    @classmethod
    def read(cls, run_dir: Path | str) -> EndedSearch:
        """
        Raises:
            RunDirectoryError: there is no search, or it has not ended.
            ConfigError: its configuration cannot be read any more.
        """
        directory = RunDirectory.at(run_dir)
        info = directory.read_info()
        if info.evaluation is not None:
            raise RunDirectoryError(f"{directory} holds an evaluation; name the run directory of its search")
        standing = directory.standing(info)
        if standing == "running":
            raise RunDirectoryError(f"{directory} is still being searched; wait until it has ended")
        if standing not in ENDED:
            raise RunDirectoryError(
                f"{directory} is unfinished ({standing}); end it with: cellscout resume {directory}"
            )
        return cls(directory, info, change_config(info.config, [], ()))


def check_same_data(recorded: RunInfo, facts: Mapping[str, Any], data_name: str) -> None:
    """Refuse to go on with other images than those of the record; `facts` are what `DataSplits.describe` says.

    Raises:
        ConfigError: says what differs.
    """
    for name, value in json.loads(json.dumps(facts)).items():
        if recorded.data.get(name) != value:
            raise ConfigError(
                f"the data set {data_name!r} has changed: its {name} is {value!r}, and was "
                f"{recorded.data.get(name)!r} when the search began (data.root)"
            )
