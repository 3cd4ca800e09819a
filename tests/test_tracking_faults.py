"""Tracking tools that fail, hang, or cannot be reached: the search continues, and one line says why."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.loading import parse_config
from orchestrator.config.search_config import SearchConfig
from orchestrator.errors import ConfigError
from orchestrator.record.run_directory import RunDirectory
from orchestrator.tracking import check_tracking, tracked
from orchestrator.tracking.feed import Feed
from orchestrator.tracking.tracked_trial import TrackedTrial
from tests.builders import info
from tests.driving import Hand, driven
from tests.tracked import (
    SCORES,
)


class Broken:
    """A tracker that fails or hangs at its first epoch."""

    def __init__(self, hang: threading.Event | None = None) -> None:
        self.complete: set[str] = set()
        self._hang = hang

    def begin(self, trial: Any) -> None:
        pass

    def epoch(self, trial: Any, row: Any) -> None:
        if self._hang is None:
            raise OSError("no route to host\n\nno more memory\nthe server is gone")
        self._hang.wait()

    def end(self, trial: Any) -> None:
        raise AssertionError("called after an error")


def feed_to(tracker: Broken, hand: Hand, said: list[str]) -> Feed:
    return Feed(
        "Tool",
        setting="logging.tool",
        tracker=lambda: nullcontext(tracker),
        state=hand.state,
        describe=_unchanged,
        say=said.append,
    )


def _unchanged(trial: Any) -> TrackedTrial:
    return TrackedTrial(trial.trial_id, trial.trial_id, {}, (), None)


def test_a_tool_that_fails_is_reported_in_one_line_and_not_called_again(tmp_path: Path) -> None:
    said: list[str] = []
    with driven(tmp_path) as hand:
        with feed_to(Broken(), hand, said) as feed:
            hand.log.listen(feed.apply)
            for _ in range(3):
                trial = hand.admit()
                assert trial is not None
                hand.train(trial, SCORES)
        assert len(hand.state.trials) == 3
    assert said == ["Tool: the server is gone; the search continues without it, and a resume catches up (logging.tool)"]


def test_a_tool_that_hangs_delays_only_the_end_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.tracking.feed.NOTICE_SECONDS", 0.1)
    monkeypatch.setattr("orchestrator.tracking.feed.FINISH_SECONDS", 0.3)
    said: list[str] = []
    hang = threading.Event()
    with driven(tmp_path) as hand, feed_to(Broken(hang), hand, said) as feed:
        hand.log.listen(feed.apply)
        for _ in range(3):
            trial = hand.admit()
            assert trial is not None
            hand.train(trial, SCORES)
        assert said == []
    hang.set()
    assert feed._jobs.join(timeout=20)
    assert said == [
        "writing the rest to Tool",
        "Tool: not done after 0 s; the search continues without it, and a resume catches up (logging.tool)",
    ]


def test_an_unreachable_server_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    config = parse_config({"logging": {"mlflow": "http://127.0.0.1:9"}}, "x")
    said: list[str] = []
    with driven(tmp_path) as hand:
        with tracked(config, directory=RunDirectory.at(tmp_path), info=info(), state=hand.state, say=said.append) as (
            feed,
        ):
            hand.log.listen(feed.apply)
            trial = hand.admit()
            assert trial is not None
            hand.train(trial, SCORES)
        assert hand.state.best is trial
    *notices, line = said
    assert set(notices) <= {"writing the rest to MLflow"}  # on a busy machine, its import takes longer than the wait
    assert line.startswith("MLflow: ")
    assert "Connection refused" in line
    assert "\n" not in line


class Refusing(BaseHTTPRequestHandler):
    """Answers every request as a proxy before a server does: with a page of HTML."""

    def do_GET(self) -> None:
        page = b"<html>\n<body>Unauthorized</body>\n</html>"
        self.send_response(401)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_server_that_refuses_us_is_reported_with_the_setting(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = parse_config({"logging": {"mlflow": f"http://127.0.0.1:{server.server_port}"}}, "x")
        *_, line = said_by(config, tmp_path)
        server.shutdown()
    assert line.startswith("MLflow: API request to ")
    assert "401" in line
    assert "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; the search" in line
    assert "html" not in line
    assert line.endswith("(logging.mlflow)")


def said_by(config: SearchConfig, folder: Path) -> list[str]:
    """What is said during a search of one trial."""
    said: list[str] = []
    with driven(folder) as hand:
        with tracked(
            config, directory=RunDirectory.at(folder), info=info(), state=hand.state, say=said.append
        ) as feeds:
            for feed in feeds:
                hand.log.listen(feed.apply)
            trial = hand.admit()
            assert trial is not None
            hand.train(trial, SCORES)
        assert hand.state.best is trial
    return said


def test_an_error_of_wandbs_server_is_reported_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    def refuse(**options: Any) -> None:
        raise wandb.errors.CommError("Error communicating with W&B:\nreturned error 403: permission denied")

    monkeypatch.setattr(wandb, "init", refuse)
    *_, line = said_by(parse_config({"logging": {"wandb": "offline"}}, "x"), tmp_path)
    assert line.startswith("Weights & Biases: returned error 403: permission denied; set WANDB_API_KEY (or run")
    assert line.endswith("(logging.wandb)")


def test_a_malformed_wandb_key_is_reported_with_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    def login(**options: Any) -> bool:
        raise ValueError("API key must be 40 characters long, yours was 3")

    monkeypatch.setattr(wandb, "login", login)
    *_, line = said_by(parse_config({"logging": {"wandb": "online"}}, "x"), tmp_path)
    assert line.startswith("Weights & Biases: API key must be 40 characters long, yours was 3; set WANDB_API_KEY")


def test_unusable_settings_are_reported_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(folder: str | Path, **logging: Any) -> None:
        check_tracking(parse_config({"logging": logging}, "x").logging, RunDirectory.at(folder))

    check(tmp_path, tensorboard=True, mlflow="http://127.0.0.1:5000", wandb="offline")
    monkeypatch.setattr("orchestrator.tracking.trackers.PACKAGES", {"mlflow": "no_such_package", "wandb": "a_folder"})
    (tmp_path / "a_folder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r'logging.mlflow needs no_such_package: pip install "cellscout\[mlflow\]"'):
        check(tmp_path, mlflow="http://127.0.0.1:5000")
    with pytest.raises(ConfigError, match="logging.wandb needs a_folder"):
        check(tmp_path, wandb="online")
    with pytest.raises(ConfigError, match=r"logging.mlflow: mlflow holds a password or token, which would be recorded"):
        parse_config({"logging": {"mlflow": "http://me:secret@host"}}, "x")


def test_tools_that_append_to_files_are_refused_on_an_object_store() -> None:
    settings = parse_config({"logging": {"tensorboard": True}}, "x").logging
    with pytest.raises(ConfigError, match="logging.tensorboard appends to files, which s3://"):
        check_tracking(
            settings, RunDirectory.at("s3://bucket/run?endpoint_override=127.0.0.1%3A9&scheme=http&region=x")
        )


def test_a_missing_wandb_key_is_reported_and_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.setattr(wandb, "login", lambda **options: False)
    said: list[str] = []
    config = parse_config({"logging": {"wandb": "online"}}, "x")
    with (
        driven(tmp_path) as hand,
        tracked(config, directory=RunDirectory.at(tmp_path), info=info(), state=hand.state, say=said.append),
    ):
        pass
    *_, line = said  # a busy machine first says that it waits
    assert line.startswith("Weights & Biases: no API key; run `wandb login` or set WANDB_API_KEY; the search cont")
