"""Relative paths in the user's code mean the folder of the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cluster import images
from trainables.command_folder import CommandFolder
from trainables.datasets import DataSplits, load_data
from trainables.settings import DataSettings


def test_a_folder_that_this_machine_lacks_is_not_entered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with CommandFolder("/not/there", "the-head").entered():
        assert Path.cwd() == tmp_path


def test_an_absolute_path_that_is_missing_is_reported_as_it_is(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match="No such file or directory: '.*missing'$"),
        CommandFolder(str(tmp_path), "the-head").entered(),
    ):
        (tmp_path / "missing").read_text()


def test_the_function_of_a_data_set_runs_in_the_folder_of_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entered: list[Path] = []

    def load(settings: DataSettings, seed: int) -> DataSplits:
        entered.append(Path.cwd())
        return load_data(settings, seed)

    monkeypatch.chdir(tmp_path)
    home = CommandFolder.here()
    monkeypatch.chdir("/")
    monkeypatch.setattr(images, "load_data", load)
    images._load_and_describe(DataSettings(limit=100), 0, home)
    assert entered == [tmp_path]
