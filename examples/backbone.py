"""The backbone of detection.py and segmentation.py: a cell network that returns feature maps."""

import json
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file

from cellscout import NASNET_A, SKELETONS, CellNetwork, NetworkSpec, load_weights

SMALL = NetworkSpec(
    architecture=NASNET_A,
    skeleton=replace(SKELETONS["nasnet_cifar"], stem="strided", stem_channels=16),  # maps of strides 2, 4 and 8
    repeats=1,
    filters=8,
    classes=2,  # of the classifier, which a backbone leaves out
)


def network_of(folder: Path | None) -> CellNetwork:
    """Load the network of a folder such as RUN_DIR/best; without one, make a small NASNet-A with random weights."""
    if folder is None:
        return CellNetwork(SMALL, features_only=True)
    spec = NetworkSpec.from_json(json.loads((folder / "network.json").read_text()))
    network = CellNetwork(spec, features_only=True)
    load_weights(network, load_file(folder / "weights.safetensors"))
    return network
