"""Loads timm's NASNet-A or PNASNet-5 into cellscout's network: python examples/pretrained.py nasnetalarge [--download]

Needs timm (`pip install timm`). Without --download the weights are random; with it timm downloads those of ImageNet.
`--save nasnetalarge` writes them to that folder, from which a training on the images of a search can start:

    cellscout retrain RUN_DIR --architecture nasnetalarge/network.json --weights nasnetalarge --freeze
"""

import argparse
import json
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from cellscout import PUBLISHED, SKELETONS, CellNetwork, NetworkSpec, convert_weights

NETWORKS = {
    "nasnetalarge": NetworkSpec(
        architecture=PUBLISHED["nasnet_a"].architecture,
        skeleton=SKELETONS["nasnet_large"],
        repeats=6,
        filters=168,
        classes=1000,
        image_size=(331, 331),
    ),
    "pnasnet5large": NetworkSpec(
        architecture=PUBLISHED["pnasnet_5"].architecture,
        skeleton=SKELETONS["pnasnet_large"],
        repeats=4,
        filters=216,
        classes=1000,
        image_size=(331, 331),
    ),
}


def main() -> None:
    """Convert the weights, save them with --save, and print the most likely classes of a random image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=sorted(NETWORKS))
    parser.add_argument("--download", action="store_true", help="let timm download pretrained weights")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write network.json and weights.safetensors here")
    arguments = parser.parse_args()
    spec = NETWORKS[arguments.network]
    theirs = timm.create_model(arguments.network, pretrained=arguments.download)
    network = CellNetwork(spec).eval()
    network.load_state_dict(convert_weights(theirs.state_dict(), spec))
    if arguments.save is not None:
        arguments.save.mkdir(parents=True, exist_ok=True)
        (arguments.save / "network.json").write_text(json.dumps(spec.to_json(), indent=2))
        save_file(network.state_dict(), arguments.save / "weights.safetensors")
    with torch.no_grad():
        probabilities = network(torch.rand(1, 3, *spec.image_size)).softmax(dim=1)[0]
    for probability, number in zip(*probabilities.topk(3), strict=True):
        print(f"class {int(number):4}  {float(probability):.4f}")


if __name__ == "__main__":
    main()
