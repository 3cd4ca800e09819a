"""What the environment of this process gives a Ray that is started here: cores, a temporary folder, a token.

Does not use Ray: what would keep it from starting is found before, because Ray reports it in long tracebacks.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.errors import ClusterError

MAX_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
"""Limit of the system for the path of a socket."""
SOCKET_IN_TEMP = "/session_2026-01-31_12-00-00_000000_4194304/sockets/plasma_store"
"""The longest path that Ray 2.60.0 gives a socket in its temporary folder; the last number is a process's."""
MAX_TEMP_BYTES = MAX_SOCKET_BYTES - len(SOCKET_IN_TEMP)
"""Limit for the path of Ray's temporary folder."""
SHORT_TEMP = Path("/tmp")

MODE = "RAY_AUTH_MODE"
TOKEN = "RAY_AUTH_TOKEN"
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"

HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Makes processes of Linux allocate memory in huge pages where the system lets them choose. A training step on a CPU is
1.07 to 1.3 times as fast (`benchmarks/huge_pages.md`). It has to be set before a process starts."""
SLEEPING_THREADS = {"OMP_WAIT_POLICY": "passive"}
"""Makes OpenMP's threads sleep while they wait for each other. By default they spin: where other processes need the
cores, two threads then take many times as long as one (`benchmarks/threads.md`). It has to be set before PyTorch is
imported."""


@contextlib.contextmanager
def environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and restore them at the end."""
    previous = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in previous.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def unless_set(defaults: Mapping[str, str]) -> dict[str, str]:
    """Return the user's values of these environment variables, and the defaults of those that are not set."""
    return {name: os.environ.get(name, value) for name, value in defaults.items()}


def usable_cpus(cgroups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many cores this process may use, at least 1: `taskset`, SLURM and containers set limits.

    Args:
        cgroups: where the system's control groups are mounted.
        membership: the file that names this process's groups.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([allowed, *_cpu_quotas(cgroups, membership)])))


def _cpu_quotas(cgroups: Path, membership: Path) -> Iterator[float]:
    """Yield the limits, in cores, of this process's control groups and of those above them."""
    lines = membership.read_text().splitlines() if membership.exists() else []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = cgroups / "cpu" if controllers else cgroups
        folder = top / group.lstrip("/")
        # In a container, the group may be named as on the host, and only its mount is seen.
        for one in [one for one in (folder, *folder.parents) if one.is_relative_to(top)]:
            with contextlib.suppress(OSError, ValueError):  # not there, or without a limit ("max")
                if controllers:
                    quota, period = (one / "cpu.cfs_quota_us").read_text(), (one / "cpu.cfs_period_us").read_text()
                else:
                    quota, period = (one / "cpu.max").read_text().split()
                if int(quota) > 0:
                    yield int(quota) / int(period)


def given_temp() -> tuple[str, Path]:
    """Return the variable that says where Ray's temporary folder is, and the folder."""
    names = ["RAY_TMPDIR", "TMPDIR"] if sys.platform == "linux" else ["RAY_TMPDIR"]
    name = next((name for name in names if os.environ.get(name)), names[0])
    return name, Path(os.environ.get(name) or SHORT_TEMP).absolute() / "ray"


def is_too_long(folder: Path) -> bool:
    """Whether the sockets of a Ray with this temporary folder could not be created."""
    return len(os.fsencode(folder)) > MAX_TEMP_BYTES


@contextlib.contextmanager
def ray_temp() -> Iterator[Path]:
    """Yield the temporary folder for Ray. If the given one is too long, make a short one, and remove it at the end.

    Raises:
        ClusterError: the folder cannot be written.
    """
    name, folder = given_temp()
    short = is_too_long(folder)
    problem = _problem_of_writing(SHORT_TEMP if short else folder)
    if problem is not None and short:
        raise ClusterError(
            f"Ray's temporary folder {str(folder)!r} (from {name}) has a path that is too long for its sockets (at "
            f"most {MAX_TEMP_BYTES} bytes), and {SHORT_TEMP} cannot be written: {problem}; set RAY_TMPDIR to a "
            "writable folder with a short path"
        )
    if problem is not None:
        raise ClusterError(
            f"Ray's temporary folder {str(folder)!r} cannot be written: {problem}; set RAY_TMPDIR to a short folder "
            "that can be written"
        )
    if not short:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="ray-", dir=SHORT_TEMP, ignore_cleanup_errors=True) as made:
        yield Path(made)


def check_token(address: str | None) -> None:
    """Check that Ray finds its token, or can write a new one for a cluster that is started here.

    Args:
        address: of the cluster to join; None to start one.

    Raises:
        ClusterError: it does not; the message names the setting to change.
    """
    if os.environ.get(MODE, "" if address else "token").lower() != "token" or os.environ.get(TOKEN):
        return
    if TOKEN_PATH in os.environ:
        try:
            problem = None if Path(os.environ[TOKEN_PATH]).read_text().strip() else "the file is empty"
        except (OSError, UnicodeDecodeError) as error:
            problem = _reason(error)
        if problem is not None:
            raise ClusterError(
                f"{TOKEN_PATH} is {os.environ[TOKEN_PATH]!r}, from which no token can be read: {problem}; set "
                f"{TOKEN_PATH} to a file with the cluster's token, or set {TOKEN}"
            )
        return
    try:
        file = Path.home() / ".ray" / "auth_token"
    except RuntimeError as error:
        raise ClusterError(
            f"Ray's token is in the home folder, and there is none: {error}; set HOME or {TOKEN}"
        ) from error
    if os.access(file, os.R_OK):
        return
    if address is not None:
        raise ClusterError(
            f"{MODE} is 'token', and there is no token in {file}; set {TOKEN} to the cluster's token, or {TOKEN_PATH} "
            "to a file with it"
        )
    problem = _problem_of_writing(file.parent)
    if problem is not None:
        raise ClusterError(
            f"Ray cannot write its token to {file}: {problem}; set HOME to a folder that can be written, or {TOKEN} to "
            "a random text of 64 characters"
        )


def _problem_of_writing(folder: Path) -> str | None:
    """Return why nothing can be written to the folder, or created where it would be; None if something can."""
    nearest = next(one for one in (folder.absolute(), *folder.absolute().parents) if os.access(one, os.F_OK))
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
