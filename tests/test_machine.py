"""Cores, temporary folder and token of a Ray that is started here, found without Ray."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.cluster.machine import (
    MAX_SOCKET_BYTES,
    MAX_TEMP_BYTES,
    SOCKET_IN_TEMP,
    check_token,
    is_too_long,
    ray_temp,
    usable_cpus,
)
from orchestrator.errors import ClusterError


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_TMPDIR", "TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("membership", "files", "cpus"),
    [
        ("", {}, 64),
        ("0::/\n", {"cpu.max": "max 100000"}, 64),
        ("0::/\n", {"cpu.max": "400000 100000"}, 4),
        ("0::/\n", {"cpu.max": "250000 100000"}, 2),  # two and a half
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/slurm/job_7/step_0\n", {"slurm/job_7/cpu.max": "800000 100000"}, 8),  # a group above has the limit
        ("0::/a/b\n", {"a/cpu.max": "800000 100000", "a/b/cpu.max": "300000 100000"}, 3),
        ("0::/docker/1f2e\n", {"cpu.max": "200000 100000"}, 2),  # named as on the host, mounted at the top
        ("0::/../../x\n", {"cpu.max": "200000 100000"}, 2),
        (
            "4:memory:/m\n3:cpu,cpuacct:/job\n",
            {"cpu/job/cpu.cfs_quota_us": "600000", "cpu/job/cpu.cfs_period_us": "100000"},
            6,
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ("3:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ("0::/\n", {"cpu.max": ""}, 64),
    ],
)
def test_a_control_group_limits_the_cores(
    membership: str, files: dict[str, str], cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    for name, text in {"self": membership, **{f"cgroup/{name}": text for name, text in files.items()}}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cpus(tmp_path / "cgroup", tmp_path / "self") == cpus


def test_the_affinity_limits_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert usable_cpus(tmp_path, tmp_path / "absent") == 1


def test_the_limit_of_the_temporary_folder_is_that_of_the_sockets() -> None:
    longest = Path("/" + "a" * (MAX_TEMP_BYTES - 1))
    assert not is_too_long(longest)
    assert is_too_long(Path(f"{longest}a"))
    assert len(f"{longest}{SOCKET_IN_TEMP}") == MAX_SOCKET_BYTES


def test_a_temporary_folder_that_is_too_long_is_replaced_by_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("slurm_jobdir_" * 5)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    with ray_temp() as folder:
        assert folder.is_dir()
        assert not is_too_long(folder)
    assert not folder.exists()
    monkeypatch.setattr("orchestrator.cluster.machine.SHORT_TEMP", Path("/proc/nope"))
    with (
        pytest.raises(ClusterError, match=r"^Ray's .*\(from TMPDIR\) .* too long .*set RAY_TMPDIR to a writable"),
        ray_temp(),
    ):
        pass


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
def test_a_temporary_folder_that_cannot_be_written_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/proc/nope")
    with (
        pytest.raises(ClusterError, match=r"folder '/proc/nope/ray' cannot be written: .*; set RAY_TMPDIR to"),
        ray_temp(),
    ):
        pass


@pytest.mark.parametrize(
    ("variables", "temp"),
    [
        ({}, "/tmp/ray"),
        ({"TMPDIR": "/tmp/."}, "/tmp/ray"),
        ({"TMPDIR": "/proc/nope", "RAY_TMPDIR": "/tmp"}, "/tmp/ray"),
        ({"TMPDIR": "", "RAY_TMPDIR": ""}, "/tmp/ray"),
    ],
)
def test_a_temporary_folder_that_fits_is_used(
    variables: dict[str, str], temp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with ray_temp() as folder:
        assert folder == Path(temp)


JOINED = "10.0.0.1:6379"


@pytest.mark.parametrize(
    ("variables", "address", "message"),
    [
        ({}, None, None),  # Ray writes one
        ({}, JOINED, None),  # a cluster without tokens
        ({"RAY_AUTH_MODE": "disabled", "HOME": "/proc/nope"}, None, None),
        (
            {"HOME": "/proc/nope"},
            None,
            "cannot write its token to /proc/nope/.ray/auth_token: .*; set HOME .*RAY_AUTH_TOKEN",
        ),
        ({"HOME": "/proc/nope", "RAY_AUTH_TOKEN": "a" * 64}, None, None),
        ({"RAY_AUTH_MODE": "token"}, JOINED, "there is no token in .*auth_token; set RAY_AUTH_TOKEN to the cluster's"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}, JOINED, None),
        (
            {"RAY_AUTH_TOKEN_PATH": "/nonexistent"},
            None,
            "^RAY_AUTH_TOKEN_PATH is '/nonexistent', from which no token can be read: No such",
        ),
        (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/"},
            JOINED,
            "^RAY_AUTH_TOKEN_PATH is '/', .*: Is a directory",
        ),
    ],
)
def test_a_token_that_ray_would_not_find_is_told_with_the_setting(
    variables: dict[str, str], address: str | None, message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if message is None:
        check_token(address)
        return
    with pytest.raises(ClusterError, match=message):
        check_token(address)


def test_a_token_in_the_home_folder_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("a" * 64)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    check_token(JOINED)
