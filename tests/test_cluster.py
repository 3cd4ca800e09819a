from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cluster import allot, connected, count_slots
from orchestrator.config import ResourceSettings
from orchestrator.errors import ClusterError

BOX: dict[str, float] = {"CPU": 16, "GPU": 4}
LAPTOP: dict[str, float] = {"CPU": 8}
HEAD: dict[str, float] = {}


@pytest.mark.parametrize(
    ("cpus", "gpus", "nodes", "slots"),
    [
        (1, 0, [LAPTOP], 8),
        (3, 0, [LAPTOP], 2),
        (3, 0, [LAPTOP, LAPTOP], 4),  # a trial does not span two nodes, although 16 CPUs would fit 5
        (1, 1, [BOX], 4),
        (1, 0.25, [BOX], 16),
        (2, 0.25, [BOX], 8),
        (1, 0.4, [BOX], 8),  # two of 0.4 on a GPU, and not ten on four
        (1, 0.1, [{"CPU": 100, "GPU": 1}], 10),
        (1, 2, [BOX], 2),
        (1, 3, [BOX, BOX], 2),
        (1, 1, [HEAD, LAPTOP, BOX], 4),
    ],
)
def test_slots_are_counted_node_by_node_and_card_by_card(
    cpus: int, gpus: float, nodes: list[dict[str, float]], slots: int
) -> None:
    assert count_slots(cpus, gpus, nodes) == slots


@pytest.mark.parametrize(("cpus", "gpus"), [(1, 5), (17, 0)])
def test_more_than_any_node_has_is_refused(cpus: int, gpus: float) -> None:
    with pytest.raises(ClusterError, match=r"the largest of 2 nodes has 16 CPUs and 4 GPUs \(resources.cpus_per_trial"):
        count_slots(cpus, gpus, [BOX, LAPTOP])


@pytest.mark.parametrize(("setting", "nodes", "gpus"), [("auto", [BOX], 1), ("auto", [LAPTOP], 0), (0.5, [BOX], 0.5)])
def test_auto_takes_a_gpu_where_there_is_one(setting: Any, nodes: list[dict[str, float]], gpus: float) -> None:
    assert allot(ResourceSettings(gpus_per_trial=setting), nodes).gpus_per_trial == gpus


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("somewhere", "it must be 'auto' or HOST:PORT"),
        ("127.0.0.1:", "it must be 'auto' or HOST:PORT"),
        ("127.0.0.1:99999", "no Ray cluster at '127.0.0.1:99999'"),
        ("127.0.0.1:1", "no Ray cluster at '127.0.0.1:1' .--address.: .*refused"),
    ],
)
def test_an_address_where_no_cluster_listens_is_refused_at_once(address: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message), connected(address):
        pass


def test_ray_client_addresses_are_refused_with_the_way_to_go() -> None:
    with pytest.raises(ClusterError, match="--address auto or HOST:PORT"), connected("ray://somewhere:10001"):
        pass
