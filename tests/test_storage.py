"""Folders on the local filesystem and in memory; see `test_storage_s3` for an object store."""

from __future__ import annotations

import errno
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from trainables import storage
from trainables.storage import Folder, check_location, is_retryable, reason, split_options


@pytest.fixture(params=["local", "in memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return Folder.at(tmp_path / "a")
    filesystem = pafs._MockFileSystem()
    filesystem.create_dir("a/deep")
    return Folder(filesystem, "a", "mock://a")


def test_files_are_written_read_listed_and_deleted(folder: Folder) -> None:
    folder.write("deep/x", b"one")
    folder.write("deep/x", b"two", durable=True)
    folder.write("y", b"")
    assert folder.read("deep/x") == (folder / "deep").read("x") == b"two"
    assert (folder.names(), (folder / "deep").names()) == (["deep", "y"], ["x"])
    assert (folder.folders(), (folder / "deep").folders()) == (["deep"], [])
    assert folder.has("y")
    assert not folder.has("deep")
    (folder / "deep").copy("x", folder)
    folder.remove("y")
    folder.remove("y")
    assert folder.names() == ["deep", "x"]
    folder.delete()
    folder.delete()
    assert folder.names() == []


def test_a_file_that_another_process_deletes_meanwhile_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Folder, "has", lambda *_: True)  # as it was a moment ago
    Folder.at(tmp_path).remove("x")


def test_only_an_object_store_is_waited_for(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "RETRY_SECONDS", (0.0, 0.0))
    tries: list[OSError] = []

    def fail() -> None:
        tries.append(OSError("it is down"))
        raise tries[-1]

    with pytest.raises(OSError, match="it is down"):
        folder.patiently(fail)
    assert len(tries) == (1 if folder.is_local else 3)


def test_reading_a_missing_file_raises(folder: Folder) -> None:
    with pytest.raises(FileNotFoundError):
        folder.read("nothing")
    assert folder.names() == [] or folder.names() == ["deep"]


def test_paths_and_locations_of_local_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative, absolute, uri = Folder.at("a b"), Folder.at(tmp_path / "a b"), Folder.at((tmp_path / "a").as_uri())
    assert relative == absolute
    assert (relative.location, str(relative / "x"), absolute.location) == ("a b", "a b/x", str(tmp_path / "a b"))
    assert relative.local_path == absolute.local_path == tmp_path / "a b"
    assert (absolute / "x").local_path == tmp_path / "a b" / "x"
    assert (uri / "x").location == str(tmp_path / "a" / "x")
    assert ((uri / "x").name, uri.is_local) == ("x", True)
    assert Folder.at("~/x").local_path == Path.home() / "x"
    assert Folder.at("~nosuchuser/x").local_path == tmp_path / "~nosuchuser" / "x"


def test_options_of_a_uri_stay_at_its_end() -> None:
    folder = Folder.at("s3://bucket/runs/?endpoint_override=127.0.0.1%3A9&scheme=http") / "digits" / "best"
    assert folder.location == "s3://bucket/runs/digits/best?endpoint_override=127.0.0.1%3A9&scheme=http"
    assert (folder.path, folder.name, folder.local_path) == ("bucket/runs/digits/best", "best", None)
    assert Folder.at(folder.location) == folder == pickle.loads(pickle.dumps(folder))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder.at(tmp_path)
    folder.write("x", b"old")

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        folder.write("x", b"new", durable=True)
    assert folder.read("x") == b"old"
    assert folder.names() == ["x"]


def test_concurrent_writes_leave_one_intact_file(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path)
    contents = [bytes([writer]) * 100_000 for writer in range(4)]
    with ThreadPoolExecutor(len(contents)) as writers:
        written = [writers.submit(folder.write, "x", content) for content in contents * 20]
    for one in written:
        one.result()
    assert folder.read("x") in contents
    assert folder.names() == ["x"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://bucket/runs", "Unrecognized filesystem type in URI: ftp://bucket/runs"),
        ("s3://", "does not name a bucket"),
        ("s3://bucket/runs?endpoint_override=127.0.0.1%3A9&colour=red", "Unexpected query parameter .*colour"),
    ],
)
def test_an_unusable_uri_is_refused(uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Folder.at(uri)


@pytest.mark.parametrize(
    "location",
    [
        "s3://key:hunter2@bucket/runs",
        "s3://key:hun/ter2+hunter2@bucket/runs",
        "abfs://account:hunter2@container/runs",
        "abfs://container@account/runs?client_secret=hunter2",
        "s3://bucket/runs?scheme=http&access_key=hunter2",
        "abfs://container@account/runs?sig=hunter2",
    ],
)
def test_a_secret_is_refused_and_not_repeated(location: str) -> None:
    with pytest.raises(ValueError, match="with a secret in it .* use environment variables") as refused:
        check_location(location)
    assert "hun" not in str(refused.value)


@pytest.mark.parametrize(
    "location",
    ["s3://bucket/a@b", "gs://anonymous@bucket/runs", "abfs://container@account/runs", "a:b@c/d", "hdfs://host:80/a"],
)
def test_a_location_without_a_secret_is_accepted(location: str) -> None:
    check_location(location)


AWS = "When listing objects under key 'runs' in bucket 'b': AWS Error {} during ListObjectsV2 operation: {}"


@pytest.mark.parametrize(
    ("error", "message", "retryable"),
    [
        (OSError(errno.ENOSPC, "long words [errno 28]"), "No space left on device", True),
        (OSError("two\nlines"), "two", True),
        (FileNotFoundError(errno.ENOENT, "long words"), "No such file or directory", False),
        (OSError(AWS.format("NO_SUCH_BUCKET", "It does not. (Request ID: 1)")), "there is no such bucket", False),
        (
            OSError(AWS.format("NETWORK_CONNECTION", "curlCode: 7, No; Details: Failed to connect to h")),
            "the object store cannot be reached: Failed to connect to h; see endpoint_override in the URI, or "
            "AWS_ENDPOINT_URL",
            True,
        ),
        (
            OSError(AWS.format("ACCESS_DENIED", "No entry. (Request ID: 1)")),
            "the object store denies access: No entry.; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "~/.aws/credentials or the machine's role",
            False,
        ),
        (OSError(AWS.format("SLOW_DOWN", "Please.")), "Please.", True),
    ],
)
def test_a_reason_is_one_line(error: Any, message: str, retryable: bool) -> None:
    assert reason(error) == message
    assert is_retryable(error) == retryable


@pytest.mark.parametrize(
    ("location", "parts"),
    [
        ("s3://bucket/a?region=x&scheme=http", ("s3://bucket/a", "?region=x&scheme=http")),
        ("s3://bucket/a", ("s3://bucket/a", "")),
        ("/what?/a", ("/what?/a", "")),
    ],
)
def test_options_are_split_from_uris_only(location: str, parts: tuple[str, str]) -> None:
    assert split_options(location) == parts
