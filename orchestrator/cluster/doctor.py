"""Examines what this machine or cluster can run. Each finding of a problem says how to solve it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from orchestrator.cluster.allotment import NodeResources, allot, count_fitting_trials
from orchestrator.cluster.autoscaling import Growth, growth
from orchestrator.cluster.connection import connected, node_resources
from orchestrator.cluster.gpu_sharing import MAX_SHARING, mps_runs
from orchestrator.cluster.machine import SHORT_TEMP, given_temp, is_too_long, usable_cpus
from orchestrator.config import ResourceSettings
from orchestrator.errors import ClusterError
from orchestrator.record import FREE_BYTES_NEEDED
from orchestrator.words import counted

MIN_OPEN_FILES = 4096
MIN_MEMORY = 4 * 2**30
"""Bytes."""

DISTRIBUTION = "cellscout"

# Runs in a process of its own, because the driver does not import torch and a broken torch may end the process.
TORCH_PROBE = """
import json, torch, torchvision
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
gpus = [torch.cuda.get_device_properties(index) for index in range(count)]
print(json.dumps({"torch": torch.__version__, "torchvision": torchvision.__version__,
                  "gpus": [f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus]}))
"""


@dataclass(frozen=True)
class Finding:
    """One result of the examination."""

    level: Literal["ok", "warning", "error"]
    what: str
    remedy: str = ""
    """What to do about it; empty if nothing."""


def examine(address: str | None, storage: Path | None, resources: ResourceSettings) -> Iterator[Finding]:
    """Examine Python, packages, torch, disk, memory and Ray, in this order.

    Args:
        address: of a Ray cluster; None for one that is started on this machine.
        storage: local folder of runs; None on an object store.
        resources: what each trial requests.
    """
    cpus = _cpus(usable_cpus(), os.cpu_count())
    yield Finding("ok", f"Python {platform.python_version()} on {platform.system()}, {cpus}")
    yield from _packages()
    yield from untested_versions(_requirements(), version)
    torch, has_gpu = _torch()
    yield torch
    if has_gpu:
        yield mps()
    if storage is not None:
        yield _disk(storage)
    yield _memory()
    yield _open_files()
    yield from _cluster(address, resources)


def _cpus(usable: int, present: int | None) -> str:
    if usable == present:
        return counted(usable, "CPU")
    return f"{usable} of {present} CPUs (the affinity or the control group of this process allows no more)"


def _packages() -> Iterator[Finding]:
    found = []
    for name in ("ray", "optuna", "numpy", "pyarrow"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding("error", f"{name} is not installed", f"pip install {name}")
    yield Finding("ok", ", ".join(found))


def untested_versions(requirements: Iterable[str], version_of: Callable[[str], str]) -> Iterator[Finding]:
    """Warn of each installed library whose version is not in the range that was tested.

    Args:
        requirements: cellscout's, which state the ranges; those of its extras are passed over.
        version_of: returns the version of an installed distribution.
    """
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        with contextlib.suppress(PackageNotFoundError):  # `_packages` and `_torch` report what is not installed
            installed = version_of(requirement.name)
            if not requirement.specifier.contains(installed, prereleases=True):
                yield Finding(
                    "warning",
                    f"{requirement.name} {installed} is not in the tested range {requirement.specifier}",
                    f"pip install '{requirement}'",
                )


def _requirements() -> list[str]:
    """Return the requirements of the installed cellscout.

    An empty list if its files are here but it is not installed.
    """
    try:
        return requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return []


def _torch() -> tuple[Finding, bool]:
    """Return the finding, and whether PyTorch sees a GPU."""
    probe = subprocess.run([sys.executable, "-P", "-c", TORCH_PROBE], capture_output=True, text=True)
    if probe.returncode:
        lines = probe.stderr.strip().splitlines() or [f"it ended with status {probe.returncode}"]
        finding = Finding(
            "error",
            f"torch and torchvision cannot be imported: {lines[-1]}",
            "pip install both together, from the same index",
        )
        return finding, False
    facts = json.loads(probe.stdout)
    gpus = "; ".join(facts["gpus"]) or "no GPU, training runs on CPUs"
    return Finding("ok", f"torch {facts['torch']}, torchvision {facts['torchvision']}: {gpus}"), bool(facts["gpus"])


def mps() -> Finding:
    """Say whether NVIDIA's MPS runs on this machine."""
    if mps_runs():
        return Finding(
            "ok",
            "NVIDIA MPS runs: trials that share a GPU can use it at the same time; by default up to "
            f"{MAX_SHARING} share one, if its memory allows",
        )
    return Finding(
        "ok",
        "NVIDIA MPS does not run: trials that share a GPU take turns (`nvidia-cuda-mps-control -d` starts it, before "
        "Ray)",
    )


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
    if size < MIN_MEMORY:
        return Finding("warning", what, "Ray and one worker need about 4 GiB")
    return Finding("ok", what)


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    what = f"{soft} open files allowed"
    if soft < MIN_OPEN_FILES and (hard == resource.RLIM_INFINITY or hard < MIN_OPEN_FILES):
        return Finding("warning", what, f"ulimit -n {MIN_OPEN_FILES}, or Ray may run out of them with many workers")
    return Finding("ok", what)


def _cluster(address: str | None, resources: ResourceSettings) -> Iterator[Finding]:
    where = "on this machine" if address is None else f"at {address}"
    name, temp = given_temp()
    if address is None and is_too_long(temp):
        yield Finding("ok", f"{name} is too long for Ray's sockets: Ray uses a short folder in {SHORT_TEMP}")
    try:
        with connected(address):
            nodes, added = node_resources(), growth()
    except ClusterError as error:
        yield Finding("error", str(error))  # which says what to do
        return
    cpus, gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
    yield Finding("ok", f"Ray {where}: nodes: {len(nodes)}, CPUs: {cpus:g}, GPUs: {gpus:g}")
    yield from plan_findings(resources, nodes, added)


def plan_findings(
    resources: ResourceSettings, nodes: Sequence[NodeResources], added: Growth | None
) -> Iterator[Finding]:
    """Yield how many trials fit on each kind of node, including nodes that can be added, and on all nodes together."""
    try:
        share = allot(resources, nodes, added)
    except ClusterError as error:
        yield Finding("error", str(error), "change [resources] (--set), or add nodes")
        return

    def fit(node: NodeResources) -> str:
        fitting = count_fitting_trials(share.cpus_per_trial, share.gpus_per_trial, node)
        return f"{_shape(node)}: {counted(fitting, 'trial')} on each"

    for line, count in Counter(map(fit, nodes)).items():
        yield Finding("ok", f"here: {counted(count, 'node')} of {line}")
    if added is None:
        yield Finding("ok", "the cluster does not grow by itself")
    else:
        limit = "" if added.max_nodes is None else f", to {counted(added.max_nodes, 'node')} besides the head"
        yield Finding("ok", f"the cluster grows by itself{limit}")
        for kind in added.kinds:
            yield Finding("ok", f"to come: up to {kind.max_nodes} of {kind.name!r}, {fit(kind.resources)}")
        if not added.complete:
            yield Finding("warning", "it is not known which nodes its autoscaler can add", "check that a trial fits")
    later = ""
    if share.most_slots is None:
        later = ", more as it grows"
    elif share.most_slots > share.slots:
        later = f", up to {share.most_slots} as it grows"
    each = f"{counted(share.cpus_per_trial, 'CPU')} and {counted(share.gpus_per_trial, 'GPU')} each"
    yield Finding("ok", f"{counted(share.slots, 'trial')} at a time{later}, with {each}")


def _shape(node: NodeResources) -> str:
    """Describe the CPUs and GPUs of a node, with the GPUs' model if Ray knows it."""
    models = [name.partition(":")[2] for name in node if name.startswith("accelerator_type:")]
    model = f" ({', '.join(models)})" if models else ""
    return f"{counted(node.get('CPU', 0), 'CPU')}, {counted(node.get('GPU', 0), 'GPU')}{model}"
