"""Submits a search to a Ray cluster as a job: the code as a wheel, the search file, and the modules that it names.

Knows Ray Jobs. Does not know how a search runs: the job is `cellscout search`, which runs on the cluster's head.

The wheel is unpacked into the job's working directory, which Ray puts first on the Python path of every process of the
job. It is not one of Ray's `py_modules`, because each node would install these by `pip install --target`, together with
all dependencies.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.machinery
import importlib.util
import logging
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.config import SearchConfig, load_config
from orchestrator.errors import ClusterError, ConfigError, SearchError, last_line
from orchestrator.record import now
from trainables.plugins import is_plugin_name

PACKAGES = ("search_spaces", "trainables", "orchestrator", "cellscout")
POLL_SECONDS = 1.0
AGENT_SECONDS = 60.0
"""Time that a new head has to start the agent that takes jobs."""


@dataclass(frozen=True)
class Submission:
    """A submitted job."""

    address: str
    job_id: str
    run_dir: str
    """The run directory, as a path or URI on the cluster's head."""
    status: str
    """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    message: str = ""


def submit(
    search_file: Path,
    address: str,
    overrides: Sequence[str] = (),
    *,
    run_dir: str | None = None,
    wheel: Path | None = None,
    wait: bool = True,
    show: Callable[[str], None],
) -> Submission:
    """Start the search on the cluster, and by default wait for its end.

    Args:
        search_file, overrides: as for a search on this machine.
        address: of the cluster's job server, `http://HOST:8265`.
        run_dir: where the record is written, on storage that the head has; by default a new folder in `run.storage`.
        wheel: of cellscout; by default built from the checkout that runs this, or what is installed.
        wait: whether to follow the search's output to its end.
        show: called with the output.

    Raises:
        InputError: an argument is wrong; nothing was started.
        SearchError: the cluster no longer answers; the job continues.
    """
    if search_file.is_dir():
        raise ConfigError(f"{search_file} is a folder; submit needs a search file, with data.root as the nodes see it")
    config = load_config(search_file, overrides)
    folder = run_dir or config.run.new_directory(now())
    if not folder.startswith("/") and "://" not in folder:
        setting = "run.storage" if run_dir is None else "--run-dir"
        value = config.run.storage if run_dir is None else run_dir
        raise ConfigError(
            f"{setting} is {value!r}; for a search on a cluster it must be an absolute path on storage that the "
            "head has, or a URI (a job's own folder is deleted)"
        )
    client = _client(address)
    command = ["search", search_file.name, "--address", "auto", "--run-dir", folder]
    command += [word for override in overrides for word in ("--set", override)]
    with tempfile.TemporaryDirectory(prefix="cellscout-") as parcel:
        _pack(Path(parcel), config=config, search_file=search_file, wheel=wheel)
        # The one in the PATH with which Ray was started there. Not every machine has it as `python`.
        python = '"$(command -v python || command -v python3)"'
        try:
            job_id = _submit_job(
                client,
                entrypoint=f"exec {python} -m orchestrator.cli {shlex.join(command)}",
                runtime_env={"working_dir": parcel},
                metadata={"cellscout_run_dir": folder},
            )
        except (RuntimeError, OSError) as error:
            raise ClusterError(f"the cluster at {address!r} (--address) refused the job: {last_line(error)}") from error
    show(f"job {job_id}, recording in {folder} on the cluster's head; to end it: ray job stop {job_id}\n")
    try:
        if wait:
            _follow(client, job_id, show)
        info = client.get_job_info(job_id)
    except (RuntimeError, OSError) as error:
        raise SearchError(f"{address!r} no longer answers ({last_line(error)}); job {job_id} continues") from error
    message = (info.message or "").strip().splitlines()
    return Submission(address, job_id, folder, str(info.status.value), message[0] if message else "")


def _client(address: str) -> Any:
    """Return a client of the job server at `address`.

    Raises:
        ClusterError: it cannot be reached or refuses our token, or Ray's job client is not installed.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(f"--address is {address!r}; it must be of the form http://HOST:8265")
    if importlib.util.find_spec("aiohttp") is None:
        raise ClusterError("cellscout submit needs Ray's job client: pip install 'cellscout[cluster]'")
    try:  # Ray's client would retry for minutes
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        socket.create_connection((parts.hostname, port), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ClusterError(f"no Ray job server at {address!r} (--address): {error}") from error
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray").setLevel(logging.WARNING)  # it would log what it uploads and closes

    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise ClusterError(
            f"the cluster at {address!r} refuses our token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH (default ~/.ray/auth_token)"
        ) from error
    except (RuntimeError, OSError, ValueError) as error:
        raise ClusterError(f"no Ray job server at {address!r} (--address): {last_line(error)}") from error


def _submit_job(client: Any, **job: Any) -> str:
    """Submit a job and return its id. Retry while the agent of a head that has just started is not up."""
    deadline = time.monotonic() + AGENT_SECONDS
    while True:
        try:
            return str(client.submit_job(**job))
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


def _follow(client: Any, job_id: str, show: Callable[[str], None]) -> None:
    """Show the job's output until the job has ended. If the stream of output breaks, only wait for the end."""
    import aiohttp

    async def tail() -> None:
        async for lines in client.tail_job_logs(job_id):
            show(lines)

    try:
        asyncio.run(tail())
    except (RuntimeError, aiohttp.ClientError) as error:
        show(f"(the output cannot be followed any more: {last_line(error)})\n")
    while not client.get_job_status(job_id).is_terminal():
        time.sleep(POLL_SECONDS)


def _pack(parcel: Path, *, config: SearchConfig, search_file: Path, wheel: Path | None) -> None:
    """Put cellscout, the search file and the modules that it names into a folder.

    Raises:
        ConfigError: the wheel is not one of cellscout or cannot be built, or a module has the name of one of ours.
    """
    checkout = Path(__file__).parents[2]
    if wheel is not None:
        _unpack(wheel, parcel)
    elif (checkout / "pyproject.toml").is_file():
        with tempfile.TemporaryDirectory() as built:
            _unpack(_build(checkout, Path(built)), parcel)
    else:
        for file in files("cellscout") or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (parcel / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), parcel / file)
    for module in _modules_beside(search_file, config):
        if (parcel / module.name).exists() or module.stem in PACKAGES:
            raise ConfigError(f"{module} has the name of one of cellscout's own packages; rename it")
        if module.is_dir():
            shutil.copytree(module, parcel / module.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(module, parcel)
    shutil.copy(search_file, parcel)


def _build(checkout: Path, folder: Path) -> Path:
    """Build a wheel of the checkout, in this environment: an isolated one would need a package index."""
    command = [sys.executable, "-P", "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(checkout)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        reason = ([line for line in ended.stderr.splitlines() if line.strip()] or ["no reason given"])[-1]
        raise ConfigError(
            f"no wheel can be built from {checkout}: {reason}; pip install 'cellscout[cluster]', or pass one (--wheel)"
        )
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, parcel: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            if "orchestrator/cli/app.py" not in archive.namelist():
                raise ConfigError(f"--wheel is {str(wheel)!r}, which is not a wheel of cellscout")
            archive.extractall(parcel)
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"--wheel is {str(wheel)!r}, which cannot be read: {last_line(error)}") from error


def _modules_beside(search_file: Path, config: SearchConfig) -> list[Path]:
    """Return the files and packages in the search file's folder that its `module:NAME`s need and are not installed."""
    sections = (config.space, config.data, config.trainable, config.sampler, config.scheduler)
    names = [*(section.name for section in sections), config.data.task or "", config.network.skeleton or ""]
    wanted = [name.partition(".")[0] for name, colon, _ in (name.partition(":") for name in names) if colon]
    found: dict[str, Path] = {}
    while wanted:
        name = wanted.pop()
        file, package = search_file.parent / f"{name}.py", search_file.parent / name
        if name in found or not (file.is_file() or (package / "__init__.py").is_file()):
            continue
        if name not in PACKAGES and _is_installed(name, search_file.parent):  # Python would import that one
            continue
        found[name] = package if package.is_dir() else file
        for source in found[name].rglob("*.py") if package.is_dir() else [file]:
            wanted += _imported(source)
    return [found[name] for name in sorted(found)]


def _is_installed(name: str, folder: Path) -> bool:
    """Whether Python finds a module of this name outside `folder`."""
    elsewhere = [place for place in sys.path if Path(place).absolute() != folder.absolute()]
    spec = importlib.machinery.PathFinder.find_spec(name, elsewhere)
    return name in sys.builtin_module_names or (spec is not None and spec.origin is not None)


def _imported(source: Path) -> list[str]:
    """Return the top-level names of the modules that a file imports, or names as `module:NAME`, as of an operation.

    Raises:
        ConfigError: the file is not valid Python.
    """
    try:
        nodes = list(ast.walk(ast.parse(source.read_bytes())))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{source} is not valid Python: {last_line(error)}") from error
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    names += [text.partition(":")[0] for text in texts if is_plugin_name(text)]
    return [name.partition(".")[0] for name in names]
