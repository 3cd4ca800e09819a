"""The examples of detection and segmentation learn what they should, and weights from elsewhere are trained here."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from orchestrator.config.loading import load_config
from tests.commands import run
from tests.documentation import ROOT, blocks_of
from tests.trained import digits_spec, make_run
from trainables.network import CellNetwork

EXAMPLES = str(ROOT / "examples")


@pytest.fixture(autouse=True)
def _examples_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # beside other tests, more threads would wait for one another
    yield
    for name in ("backbone", "detection", "segmentation", "shapes"):
        sys.modules.pop(name, None)


def measures(example: str, *arguments: str, cwd: Path) -> tuple[float, float]:
    """Before and after the training."""
    out = run(f"{EXAMPLES}/{example}.py", *arguments, cwd=cwd).stdout
    before, after = re.findall(r"(?:before|after) +(\d\.\d+)$", out, flags=re.MULTILINE)
    return float(before), float(after)


def test_the_pictures_are_what_their_masks_and_boxes_say() -> None:
    import shapes

    drawn, again = shapes.pictures(20, seed=3), shapes.pictures(20, seed=3)
    assert all(torch.equal(one.image, other.image) for one, other in zip(drawn, again, strict=True))
    assert not torch.equal(drawn[0].image, shapes.pictures(1, seed=4)[0].image)
    assert {int(kind) for picture in drawn for kind in picture.kinds} == {1, 2, 3}
    for picture in drawn:
        assert picture.image.shape == (3, 64, 64)
        inside = torch.zeros(64, 64, dtype=torch.bool)
        for (left, top, right, bottom), kind in zip(picture.boxes.int().tolist(), picture.kinds, strict=True):
            part = picture.mask[top:bottom, left:right] == kind
            assert all(edge.any() for edge in (part[0], part[-1], part[:, 0], part[:, -1])), "its box is tight"
            inside[top:bottom, left:right] = True
        assert not picture.mask[~inside].any()


def test_what_is_found_is_measured_as_by_hand() -> None:
    import detection
    import segmentation
    import shapes

    (picture,) = shapes.pictures(1, seed=3)
    assert segmentation.mean_iou(picture.mask[None], [picture]) != segmentation.mean_iou(
        picture.mask[None] * 0, [picture]
    )
    truth = replace(picture, boxes=torch.tensor([[0.0, 0, 10, 10], [30, 30, 50, 50]]), kinds=torch.tensor([1, 2]))
    boxes = [[0.0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 50, 50], [30, 30, 50, 49]]
    found = {
        "boxes": torch.tensor(boxes),
        "labels": torch.tensor([1, 1, 3, 2]),  # right, a second time, of another kind, right
        "scores": torch.tensor([0.9, 0.8, 0.7, 0.6]),
    }
    assert detection.average_precision([found], [truth]) == pytest.approx((1 / 1 + 2 / 4) / 2)
    nothing = {name: value[:0] for name, value in found.items()}
    assert detection.average_precision([nothing], [truth]) == 0
    masks = torch.tensor([[[0, 1], [2, 3]]]), torch.tensor([[0, 1], [2, 2]])
    small = replace(picture, mask=masks[1])
    assert segmentation.mean_iou(masks[0], [small]) == pytest.approx((1 + 1 + 1 / 2 + 0) / 4)


def test_torchvisions_other_heads_stand_on_the_same_network() -> None:
    import backbone
    import detection
    import shapes

    network = backbone.network_of(None)
    anchors = AnchorGenerator(sizes=((14, 18), (22, 28)), aspect_ratios=((1.0,),) * detection.LEVELS)
    retina = RetinaNet(
        detection.Pyramid(network), len(shapes.KINDS), anchor_generator=anchors, min_size=64, max_size=64
    )
    drawn = shapes.pictures(2, seed=0)
    targets = [{"boxes": picture.boxes, "labels": picture.kinds} for picture in drawn]
    torch.stack([*retina([picture.image for picture in drawn], targets).values()]).sum().backward()
    silent = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert not silent
    head = DeepLabHead(network.feature_channels[-1], len(shapes.KINDS)).eval()
    logits = head(network.eval()(torch.stack([picture.image for picture in drawn]))[-1])
    assert logits.shape == (2, len(shapes.KINDS), 8, 8)


@pytest.mark.slow
def test_the_documented_backbone_gives_the_maps_that_it_says(tmp_path: Path) -> None:
    (code,) = [block.text for block in blocks_of(ROOT / "docs" / "spaces.md") if "features_only" in block.text]
    out = run("-c", f"{code}\nprint([tuple(one.shape) for one in maps])", cwd=tmp_path).stdout.splitlines()
    assert out[0] == code.partition("# ")[2].partition("\n")[0]
    assert out[1] == "[(1, 96, 64, 48), (1, 192, 32, 24), (1, 384, 16, 12)]"


def test_the_examples_start_from_a_trained_network(tmp_path: Path) -> None:
    import backbone

    spec = replace(backbone.SMALL, classes=5, auxiliary_head=True, image_size=(64, 64))
    network = CellNetwork(spec)
    (tmp_path / "network.json").write_text(json.dumps(spec.to_json()))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    found = backbone.network_of(tmp_path).state_dict()
    assert found
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in found.items())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_segmentation_learns_the_shapes(tmp_path: Path) -> None:
    before, after = measures("segmentation", "--steps", "100", "-o", "shapes.png", cwd=tmp_path)
    assert before < 0.25  # all background would be 0.21 or so
    assert after > 0.5
    assert np.asarray(Image.open(tmp_path / "shapes.png")).std() > 10


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_detection_finds_the_shapes(tmp_path: Path) -> None:
    before, after = measures("detection", "--steps", "100", "-o", "shapes.png", cwd=tmp_path)
    assert before < 0.1
    assert after > 0.5
    assert np.asarray(Image.open(tmp_path / "shapes.png")).std() > 10


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_weights_of_timm_are_converted_and_their_features_classify_images_of_other_classes(
    cellscout: Any, tmp_path: Path
) -> None:
    """As `examples/pretrained.py` says, with random weights in place of those of ImageNet."""
    generator = np.random.default_rng(0)
    for name in ("daisy", "rose"):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for index in range(20):
            pixels = generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "flowers" / name / f"{index:03}.png")
    config = load_config(Path(EXAMPLES) / "image_folder.toml", ["data.root=flowers"])
    make_run(tmp_path / "run", replace(digits_spec(), classes=2, image_channels=3, image_size=(32, 32)), config=config)
    run(f"{EXAMPLES}/pretrained.py", "pnasnet5large", "--save", "pnasnet5large", cwd=tmp_path)
    words = ["retrain", "run", "--architecture", "pnasnet5large/network.json", "--weights", "pnasnet5large", "--freeze"]
    ended = cellscout(*words, "--name", "frozen", "--set", "training.epochs=1", "--json")
    assert ended.status == 0, ended.err
    assert json.loads(ended.out)["networks"][0]["freeze"] is True
    before = load_file(tmp_path / "pnasnet5large" / "weights.safetensors")
    after = load_file(tmp_path / "run" / "retrain" / "frozen" / "weights.safetensors")
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"head.1.weight", "head.1.bias"}
    assert after["head.1.weight"].shape == (2, 4320)
