"""Relative paths in the user's code mean the folder of the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainables.command_folder import CommandFolder


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


def test_a_relative_path_on_another_machine_is_an_error_that_names_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="'settings.txt'$"), CommandFolder.here().entered():
        Path("settings.txt").read_text()
    home = CommandFolder("/home/me/search", "the-head")
    with (
        pytest.raises(FileNotFoundError, match="this path is relative to /home/me/search on the-head, where the"),
        home.entered(),
    ):
        Path("settings.txt").read_text()
