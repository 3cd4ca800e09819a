"""`cellscout watch`: who is answered with what, when the page is made anew, and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.record.event_log import EventLog
from orchestrator.record.events import RunEnded
from orchestrator.record.run_directory import RunDirectory
from orchestrator.report.watch import watched_page
from orchestrator.report.watch.server import PageServer, watch_runs, watching
from orchestrator.report.watch.watched_page import WatchedPage
from tests.builders import RUN, info, trial, write
from tests.records import snapshot


def searching(folder: Path) -> RunDirectory:
    """A search that runs, on another machine."""
    directory = RunDirectory.at(folder)
    directory.create(info(host="elsewhere"))
    write(directory, RUN)
    return directory


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return searching(tmp_path / "run")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """Of a search in which nothing happens any more."""
    with watching(searching(tmp_path_factory.mktemp("watched") / "run").location, 0, print) as server:
        yield server


def ask(server: PageServer, path: str = "/", host: str | None = None, method: str = "GET") -> tuple[int, str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), answer.headers
    connection.close()
    return found


def version(server: PageServer) -> tuple[int, str]:
    found = json.loads(ask(server, "/version")[1])
    return found["version"], found["standing"]


def until(true: Any) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_page_is_served_and_knows_its_version(server: PageServer) -> None:
    status, page, headers = ask(server)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "00001" in page
    assert page.index("const VERSION = 1;") < page.index("</body>")
    assert version(server) == (1, "running")
    status, nothing, headers = ask(server, method="HEAD")
    assert (status, nothing, int(headers["Content-Length"]) > 1000) == (200, "", True)


@pytest.mark.parametrize(
    "path", ["/run.json", "/../run.json", "/%2e%2e/run.json", "//etc/passwd", "/events.jsonl", "/?", "/version/", "*"]
)
def test_nothing_else_of_the_disk_is_served(path: str, server: PageServer) -> None:
    status, body, _ = ask(server, path)
    assert (status, body) == (404, "the page is at /\n")


def test_nothing_can_be_sent(server: PageServer) -> None:
    assert ask(server, method="POST")[0] == ask(server, method="DELETE")[0] == 501


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8400", "127.0.0.1.evil.example", "0.0.0.0", "", "a@b:c"]
)
def test_a_name_that_was_made_to_lead_here_is_refused(host: str, server: PageServer) -> None:
    for path in ("/", "/version"):
        status, body, _ = ask(server, path, host)
        assert (status, body) == (421, "use 127.0.0.1 or localhost\n")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "LOCALHOST:1234"])
def test_this_machine_may_ask_by_a_port_that_is_forwarded(host: str, server: PageServer) -> None:
    assert ask(server, host=host)[0] == 200


def test_it_listens_on_loopback_only_and_lets_no_other_site_in(server: PageServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    headers = ask(server)[2]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Access-Control-Allow-Origin"] is None


def test_the_page_grows_with_the_log_and_the_end_is_told(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_page, "MIN_SECONDS", 0.02)
    monkeypatch.setattr(watched_page, "PAUSE_FACTOR", 0)
    said: list[str] = []
    with watching(directory.location, 0, said.append) as server:
        with EventLog.reopen(directory) as log:
            log.append(*trial("00006", [0.99], "completed", begin=20))
            until(lambda: version(server)[0] > 1)
            until(lambda: "00006" in ask(server)[1])
            log.append(RunEnded(outcome="completed"))
        directory.write_info(info(host="elsewhere", state="completed"))
        until(lambda: version(server)[1] == "completed")
    assert said == ["the run has ended (completed)"]


def test_a_record_that_stays_as_it_is_costs_no_page(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = WatchedPage(directory, print)
    monkeypatch.setattr(watched_page, "make_page", None)
    assert watched.refresh() >= watched_page.MIN_SECONDS
    assert watched.newest.number == 1


def test_an_evaluation_and_an_export_make_a_new_page(directory: RunDirectory) -> None:
    watched = WatchedPage(directory, print)
    (directory / "retrain" / "best").folder.write("events.jsonl", b"of no interest here")
    watched.refresh()
    assert watched.newest.number == 1
    watched._make = lambda number: watched_page.Version(number, "running", b"")  # type: ignore[method-assign]
    (directory / "evaluation").folder.write("evaluation.json", b"{}")
    watched.refresh()
    assert watched.newest.number == 2
    for number, network in ((3, "best"), (4, "retrain/best")):
        (directory / network / "export").folder.write("exports.json", b"{}")
        watched.refresh()
        assert watched.newest.number == number


def test_a_page_that_takes_long_is_made_seldom(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = WatchedPage(directory, print)

    def slow(*given: Any) -> bytes:
        time.sleep(0.4)
        return b""

    monkeypatch.setattr(watched_page, "make_page", slow)
    with EventLog.reopen(directory) as log:
        log.append(*trial("00006", [0.99], "completed"))
    assert watched.refresh() >= 4


def test_whatever_a_page_stumbles_over_it_is_looked_at_again(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    watched = WatchedPage(directory, said.append)

    def stumbles(_: int) -> None:
        raise ZeroDivisionError("division by zero")

    directory.folder.write("report.txt", b"")
    with monkeypatch.context() as patch:
        patch.setattr(watched, "_make", stumbles)
        patch.setattr(watched, "_state", None)
        watched.refresh()
        assert said == ["the page was not updated: division by zero"]
    watched.refresh()
    assert watched.newest.number == 1


def test_a_page_that_cannot_be_made_leaves_the_one_before(directory: RunDirectory) -> None:
    said: list[str] = []
    watched = WatchedPage(directory, said.append)
    path = Path(directory.location) / "events.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b"no event\n" * 2)
    watched.refresh()
    watched.refresh()
    assert watched.newest.number == 1
    assert len(said) == 1
    assert said[0].startswith("the page was not updated: ")
    assert "is not an event" in said[0]
    path.write_bytes(whole + b"\n".join(event.model_dump_json().encode() for event in trial("00006", [1], "failed")))
    watched.refresh()
    assert (watched.newest.number, len(said)) == (2, 1)


def test_a_port_in_use_is_told_in_one_line(directory: RunDirectory, cellscout: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = cellscout("watch", directory.location, "--port", str(port))
    assert ended.status == 2
    assert ended.err.splitlines() == [
        f"cellscout: port {port} of 127.0.0.1 cannot be used: Address already in use; "
        "choose another, or 0 for any (--port)"
    ]


def test_what_is_no_run_is_told(tmp_path: Path, cellscout: Any) -> None:
    ended = cellscout("watch", str(tmp_path))
    assert (ended.status, "holds no run" in ended.err) == (2, True)


def test_a_folder_of_runs_is_a_list_that_leads_to_their_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_page, "MIN_SECONDS", 0.02)
    monkeypatch.setattr(watched_page, "PAUSE_FACTOR", 0)
    searching(tmp_path / "a run")
    (tmp_path / "notes").mkdir()
    said: list[str] = []
    with watching(str(tmp_path), 0, said.append) as server:
        assert server.watched.words == f"1 run of {tmp_path}"
        status, page, headers = ask(server)
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert '<a href="a%20run/">a run</a>' in page
        assert "notes" not in page.replace(str(tmp_path), "")
        assert "6.0000" not in page
        status, of_run, _ = ask(server, "/a%20run/")
        assert (status, "Learning curves" in of_run) == (200, True)
        assert ask(server, "/a%20run/version")[0] == 200
        for path in ("/notes/", "/..%2f/", "/a%20run", "/a%20run/events.jsonl", "*"):
            assert ask(server, path)[0] == 404
        searching(tmp_path / "notes" / "another")
        (tmp_path / "notes" / "another").rename(tmp_path / "another")  # so that it is there as a whole
        until(lambda: "another" in ask(server)[1])
        assert version(server) == (2, "list")
        with EventLog.reopen(RunDirectory.at(tmp_path / "a run")) as log:
            log.append(*trial("00006", [0.99], "completed", begin=20))
        until(lambda: "00006" in ask(server)[1])
        until(lambda: "00006" in ask(server, "/a%20run/")[1])
        RunDirectory.at(tmp_path / "a run").write_info(info(host="elsewhere", state="completed"))
        until(lambda: said)
    assert said == ["a run: the run has ended (completed)"]


def test_a_run_that_cannot_be_read_is_listed_with_the_reason(tmp_path: Path) -> None:
    searching(tmp_path / "sound")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    with watching(str(tmp_path), 0, print) as server:
        page = ask(server)[1]
    assert "run.json" in page
    assert '<a href="sound/">' in page
    assert '<a href="broken/">' not in page


def test_ctrl_c_ends_it_in_order_and_nothing_was_written(directory: RunDirectory) -> None:
    before = snapshot(Path(directory.location))
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()

    watch_runs(directory.location, 0, say)
    url = said[0].split()[0]
    assert said == [f"{url} shows {directory}, which is running; Ctrl-C stops serving it"]
    with pytest.raises(OSError):  # noqa: PT011
        socket.create_connection(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2])), timeout=5)
    assert snapshot(Path(directory.location)) == before
