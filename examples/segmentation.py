"""Segments shapes with torchvision's FCN head on a cell network: python examples/segmentation.py -o shapes.png

`--network runs/flowers/best` starts from a trained network for images of three channels. torchvision's DeepLabHead
fits in place of its FCNHead.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from backbone import network_of
from matplotlib.figure import Figure
from shapes import KINDS, Picture, pictures
from torch import Tensor, nn
from torchvision.models.segmentation.fcn import FCNHead

from cellscout import CellNetwork

BATCH = 16


class Segmenter(nn.Module):
    """Maps images [batch, 3, height, width] to logits [batch, kinds, height, width]."""

    def __init__(self, backbone: CellNetwork) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = FCNHead(backbone.feature_channels[-1], len(KINDS))

    def forward(self, images: Tensor) -> Tensor:
        logits = self.head(self.backbone(images)[-1])
        return F.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)


def stack(chosen: list[Picture]) -> tuple[Tensor, Tensor]:
    """Stack images, scaled to about mean 0 and deviation 1, and masks."""
    images = (torch.stack([picture.image for picture in chosen]) - 0.5) / 0.25
    return images.to(memory_format=torch.channels_last), torch.stack([picture.mask for picture in chosen])


def train(model: nn.Module, *, data: list[Picture], steps: int, seed: int) -> None:
    """Train with Adam and a learning rate that rises and falls once."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    model.train()
    for _ in range(steps):
        chosen = torch.randint(len(data), (BATCH,), generator=generator)
        images, masks = stack([data[int(index)] for index in chosen])
        loss = F.cross_entropy(model(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def segment(model: nn.Module, data: list[Picture]) -> Tensor:
    """Return the most likely kind of every pixel [pictures, height, width]."""
    model.eval()
    parts = [data[start : start + BATCH] for start in range(0, len(data), BATCH)]
    return torch.cat([model(stack(part)[0]).argmax(dim=1) for part in parts])


def mean_iou(found: Tensor, data: list[Picture]) -> float:
    """Return the intersection of found and true pixels over their union, averaged over the kinds."""
    truth = torch.stack([picture.mask for picture in data])
    shares = []
    for kind in range(len(KINDS)):
        both, either = ((found == kind) & (truth == kind)).sum(), ((found == kind) | (truth == kind)).sum()
        shares.append(float(both / either))
    return sum(shares) / len(shares)


def draw(found: Tensor, data: list[Picture], to: Path) -> None:
    """Draw a column per picture: the image, the mask that was found, the true mask."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    rows = figure.subplots(3, 8)
    for place, picture in enumerate(data[:8]):
        rows[0, place].imshow(picture.image.permute(1, 2, 0))
        for row, mask in ((1, found[place]), (2, picture.mask)):
            rows[row, place].imshow(mask, vmin=0, vmax=9, cmap="tab10")
    for axes, title in zip(rows[:, 0], ("picture", "found", "true"), strict=True):
        axes.set_ylabel(title)
    for axes in rows.flat:
        axes.set(xticks=[], yticks=[])
    figure.savefig(to)


def main() -> None:
    """Train, and print the mean IoU before and after on pictures that are not used for training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=Path, help="folder with network.json and weights.safetensors to start from")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="file for a picture of the results")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    model = Segmenter(network_of(arguments.network)).to(memory_format=torch.channels_last)
    test = pictures(100, arguments.seed + 1)
    print(f"mean IoU before  {mean_iou(segment(model, test), test):.3f}")
    train(model, data=pictures(1000, arguments.seed), steps=arguments.steps, seed=arguments.seed)
    found = segment(model, test)
    print(f"mean IoU after   {mean_iou(found, test):.3f}")
    if arguments.output is not None:
        draw(found, test, arguments.output)


if __name__ == "__main__":
    main()
