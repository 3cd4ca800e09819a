"""Run directories of searches that never ran, with a network in each: quick, for tests of what is done with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from orchestrator.config.search_config import SearchConfig
from orchestrator.record.events import now
from orchestrator.record.run_info import RunInfo
from search_spaces import PUBLISHED, Architecture, Block, Cell, Edge
from trainables.baseline_spec import BaselineSpec
from trainables.build_network import build_network
from trainables.datasets import load_data
from trainables.network_spec import NetworkSpec
from trainables.skeleton import SKELETONS

WINNER = "00007"
"""The trial whose network is in `best/`."""
RECIPE: dict[str, Any] = {"epochs": 2, "batch_size": 64}


def digits_config(limit: int = 200) -> SearchConfig:
    return SearchConfig.model_validate({"data": {"limit": limit}, "training": RECIPE, "scheduler": {"name": "fifo"}})


def digits_spec(cell: str = "nasnet_a") -> NetworkSpec:
    """A small network of a published cell."""
    return NetworkSpec(
        architecture=PUBLISHED[cell].architecture,
        skeleton=SKELETONS[PUBLISHED[cell].skeleton],
        repeats=1,
        filters=4,
        classes=10,
        image_channels=1,
        image_size=(8, 8),
    )


def small_spec() -> NetworkSpec:
    """A network of few layers: converters to 8 bits can take half a second per layer."""
    blocks = (
        Block((Edge(0, "sep_conv_3x3"), Edge(1, "max_pool_3x3"))),
        Block((Edge(1, "conv_3x3"), Edge(2, "identity"))),
    )
    cell = Cell(blocks, (2, 3))
    return replace(digits_spec("pnasnet_5"), architecture=Architecture(cell, cell))


def random_weights(spec: NetworkSpec | BaselineSpec, seed: int = 0) -> bytes:
    """Of a network with random weights and random running means and variances."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(spec)
        for name, value in network.state_dict().items():
            if name.endswith("running_mean"):
                value.normal_(std=0.1)
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
    return save({name: value.contiguous() for name, value in network.state_dict().items()})


def make_run(
    folder: Path,
    spec: NetworkSpec | BaselineSpec | None = None,
    weights: bytes | None = None,
    *,
    config: SearchConfig | None = None,
    state: str = "completed",
) -> Path:
    """A run directory whose search has ended and whose `best/` holds the network."""
    spec, config = spec or digits_spec(), config or digits_config()
    info = RunInfo(
        config=config.model_dump(mode="json"),
        seed=config.run.seed,
        state=state,
        started_at=now(),
        ended_at=now(),
        command=["cellscout"],
        host="a-machine",
        pid=1,
        versions={},
        commit=None,
        resources={},
        data=load_data(config.data, config.run.seed).describe(),
    )
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(info.model_dump_json())
    put_network(folder / "best", spec, weights)
    (folder / "best" / "metrics.json").write_text(json.dumps({"trial_id": WINNER}))
    return folder


def put_network(folder: Path, spec: NetworkSpec | BaselineSpec, weights: bytes | None = None) -> None:
    folder.mkdir(parents=True)
    (folder / "network.json").write_text(json.dumps(spec.to_json()))
    (folder / "weights.safetensors").write_bytes(weights or random_weights(spec))


def put_retrained(run: Path, name: str, *, early_stopping: int | None = None, is_whole: bool = True) -> Path:
    """A retrained network in a run directory."""
    folder = run / "retrain" / name
    put_network(folder, digits_spec())
    info = json.loads((run / "run.json").read_text())
    asked = {
        "network": digits_spec().to_json(),
        "training": digits_config().training.model_dump(mode="json", exclude={"preset"}),
        "seeds": [0],
        "early_stopping": early_stopping,
        "ema": 0.0,
        "images": info["data"]["sha256"],
    }
    data = {**info["data"], "mean": [70.0], "deviation": [90.0]}
    settings = {"asked": asked, "started_at": info["started_at"], "command": [], "host": "a-machine", "versions": {}}
    (folder / "retrain.json").write_text(json.dumps({**settings, "commit": None, "data": data}))
    if is_whole:
        (folder / "result.json").write_text("{}")
    return folder
