"""Detects shapes with torchvision's Faster R-CNN on a cell network: python examples/detection.py -o shapes.png

`--network runs/flowers/best` starts from a trained network for images of three channels. The same pyramid fits
torchvision's RetinaNet, which takes longer to learn this.
"""

import argparse
from pathlib import Path

import torch
from backbone import network_of
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from shapes import KINDS, SIDE, Picture, pictures
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, box_iou

from cellscout import CellNetwork

BATCH = 8
LEVELS = 2
"""Number of feature maps in which shapes are detected: the last ones, of strides 4 and 8 in the default network."""


class Pyramid(nn.Module):
    """Maps images to named feature maps, the finest first, all with `out_channels`, as torchvision expects."""

    out_channels = 64

    def __init__(self, network: CellNetwork) -> None:
        super().__init__()
        self.network = network
        self.pyramid = FeaturePyramidNetwork(network.feature_channels[-LEVELS:], self.out_channels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.network(images)[-LEVELS:]
        levels: dict[str, Tensor] = self.pyramid({str(place): one for place, one in enumerate(maps)})
        return levels


def detector(network: CellNetwork) -> FasterRCNN:
    """Build a Faster R-CNN, smaller than torchvision's own because the pictures are small; kinds count from 1."""
    pyramid = Pyramid(network)
    return FasterRCNN(
        pyramid,
        rpn_anchor_generator=AnchorGenerator(sizes=((16,), (24,)), aspect_ratios=((1.0,),) * LEVELS),
        rpn_pre_nms_top_n_train=200,
        rpn_post_nms_top_n_train=100,
        rpn_batch_size_per_image=64,
        box_roi_pool=MultiScaleRoIAlign([str(level) for level in range(LEVELS)], output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(pyramid.out_channels * 7 * 7, 128),
        box_predictor=FastRCNNPredictor(128, len(KINDS)),
        box_batch_size_per_image=32,
        min_size=SIDE,
        max_size=SIDE,
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    )


def train(model: nn.Module, *, data: list[Picture], steps: int, seed: int) -> None:
    """Train with Adam and a learning rate that rises and falls once."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        chosen = [data[int(index)] for index in torch.randint(len(data), (BATCH,), generator=generator)]
        targets = [{"boxes": picture.boxes, "labels": picture.kinds} for picture in chosen]
        loss = sum(model([picture.image for picture in chosen], targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def detect(model: nn.Module, data: list[Picture]) -> list[dict[str, Tensor]]:
    """Return `boxes`, `labels` and `scores` of each picture, the highest score first."""
    model.eval()
    return [found for picture in data for found in model([picture.image])]


def average_precision(found: list[dict[str, Tensor]], data: list[Picture]) -> float:
    """Return the area under precision over recall.

    A box is right if its IoU with a true box of the same kind is at least 0.5 and no box of a higher score has matched
    that true box.
    """
    right: list[tuple[float, bool]] = []
    for one, picture in zip(found, data, strict=True):
        overlaps = box_iou(one["boxes"], picture.boxes) * (one["labels"][:, None] == picture.kinds)
        for score, overlap in zip(one["scores"], overlaps, strict=True):
            best = int(overlap.argmax())
            right.append((float(score), bool(overlap[best] >= 0.5)))
            if overlap[best] >= 0.5:
                overlaps[:, best] = 0
    hits = torch.tensor([hit for _, hit in sorted(right, reverse=True)], dtype=torch.float64)
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / sum(len(picture.boxes) for picture in data))


def draw(found: list[dict[str, Tensor]], data: list[Picture], to: Path) -> None:
    """Draw pictures with the boxes that score above 0.5."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    for axes, one, picture in zip(figure.subplots(2, 4).flat, found, data, strict=False):
        axes.imshow(picture.image.permute(1, 2, 0))
        axes.set_axis_off()
        for (x0, y0, x1, y1), kind, score in zip(one["boxes"], one["labels"], one["scores"], strict=True):
            if score > 0.5:
                axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="black", linewidth=2))
                axes.text(x0, y0, f"{KINDS[kind]} {score:.2f}", backgroundcolor="white", fontsize=8)
    figure.savefig(to)


def main() -> None:
    """Train, and print the average precision before and after on pictures that are not used for training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=Path, help="folder with network.json and weights.safetensors to start from")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="file for a picture of the results")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    model = detector(network_of(arguments.network))
    test = pictures(100, arguments.seed + 1)
    print(f"average precision before  {average_precision(detect(model, test), test):.3f}")
    train(model, data=pictures(1000, arguments.seed), steps=arguments.steps, seed=arguments.seed)
    found = detect(model, test)
    print(f"average precision after   {average_precision(found, test):.3f}")
    if arguments.output is not None:
        draw(found, test, arguments.output)


if __name__ == "__main__":
    main()
