"""What this machine or cluster can run, and what is wrong with it. Each finding says how to mend it."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from orchestrator.cluster import allot, connected, node_resources
from orchestrator.config import ResourceSettings
from orchestrator.errors import ClusterError
from orchestrator.run_directory import FREE_BYTES_NEEDED

OPEN_FILES_NEEDED = 4096
MEMORY_NEEDED = 4 * 2**30

# In a process of its own, because the driver imports no torch and because a broken torch may end the process.
TORCH_PROBE = """
import json, torch, torchvision
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
gpus = [torch.cuda.get_device_properties(index) for index in range(count)]
print(json.dumps({"torch": torch.__version__, "torchvision": torchvision.__version__,
                  "gpus": [f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus]}))
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy` is empty where all is well."""

    level: Literal["ok", "warning", "error"]
    what: str
    remedy: str = ""


def examine(address: str | None, storage: Path) -> Iterator[Finding]:
    """Look at Python, packages, torch, disk, memory and Ray, in this order."""
    yield Finding("ok", f"Python {platform.python_version()} on {platform.system()}, {os.cpu_count()} CPUs")
    yield from _packages()
    yield _torch()
    yield _disk(storage)
    yield _memory()
    yield _open_files()
    yield from _cluster(address)


def _packages() -> Iterator[Finding]:
    found = []
    for name in ("ray", "optuna", "numpy", "pyarrow"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding("error", f"{name} is not installed", f"pip install {name}")
    yield Finding("ok", ", ".join(found))


def _torch() -> Finding:
    probe = subprocess.run([sys.executable, "-c", TORCH_PROBE], capture_output=True, text=True)
    if probe.returncode:
        lines = probe.stderr.strip().splitlines() or [f"it ended with status {probe.returncode}"]
        return Finding(
            "error",
            f"torch and torchvision cannot be imported: {lines[-1]}",
            "pip install both together, from one place",
        )
    facts = json.loads(probe.stdout)
    gpus = "; ".join(facts["gpus"]) or "no GPU, training runs on CPUs"
    return Finding("ok", f"torch {facts['torch']}, torchvision {facts['torchvision']}: {gpus}")


def _disk(storage: Path) -> Finding:
    folder = next(folder for folder in (storage, *storage.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(folder).free
    what = f"{free / 2**30:.1f} GiB of disk free for runs in {folder.absolute()}"
    if not os.access(folder, os.W_OK):
        return Finding("error", f"{folder} is not writable", "set run.storage or --run-dir to a folder that is")
    if free < FREE_BYTES_NEEDED:
        return Finding("error", what, f"free at least {FREE_BYTES_NEEDED / 2**20:.0f} MiB, or set run.storage")
    return Finding("ok", what)


def _memory() -> Finding:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    what = f"{size / 2**30:.1f} GiB of memory"
    if size < MEMORY_NEEDED:
        return Finding("warning", what, "Ray and one worker want about 4 GiB")
    return Finding("ok", what)


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    what = f"{soft} open files allowed"
    if soft < OPEN_FILES_NEEDED and (hard == resource.RLIM_INFINITY or hard < OPEN_FILES_NEEDED):
        return Finding("warning", what, f"ulimit -n {OPEN_FILES_NEEDED}, or Ray may run out of them with many workers")
    return Finding("ok", what)


def _cluster(address: str | None) -> Iterator[Finding]:
    where = "on this machine" if address is None else f"at {address}"
    try:
        with connected(address):
            nodes = node_resources()
    except ClusterError as error:
        yield Finding("error", str(error), "start one with `ray start --head`, or leave --address out")
        return
    cpus, gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
    yield Finding("ok", f"Ray {where}: nodes: {len(nodes)}, CPUs: {cpus:g}, GPUs: {gpus:g}")
    try:
        share = allot(ResourceSettings(), nodes)
    except ClusterError as error:
        yield Finding("error", str(error), "change [resources]")
        return
    each = f"{share.cpus_per_trial} CPU and {share.gpus_per_trial:g} GPU each"
    yield Finding("ok", f"{share.slots} trials at a time, with {each}")
