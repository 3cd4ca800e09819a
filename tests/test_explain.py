"""Explanations of predictions: the maps, their sums, the drawing and the command."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from orchestrator.config.loading import load_config
from orchestrator.networks.explanation import GAP, MAX_PICTURES, TILE, Explained, Picture, figure, fit
from orchestrator.record.run_directory import RunDirectory
from search_spaces import NASNET_A
from tests.builders import info
from trainables.baseline_spec import BaselineSpec
from trainables.build_network import Network, build_network
from trainables.explanation import (
    ABSOLUTE_TOLERANCE,
    MAX_STEPS,
    MIN_STEPS,
    RELATIVE_TOLERANCE,
    Explanation,
    explain,
)
from trainables.modules import GlobalPool
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec
from trainables.skeleton import SKELETONS

CELLS = NetworkSpec(
    architecture=NASNET_A, repeats=1, filters=4, classes=5, image_channels=3, image_size=(32, 32), auxiliary_head=True
)
TWO = BaselineSpec(baseline="two_convolutions", classes=3, image_channels=1, image_size=(20, 20))
CORNER = (slice(3, 7), slice(3, 7))
"""Rows and columns of the pixels that the network of `cornered` reads."""


def cornered(scale: float = 1.0, bias: float = 1.0) -> dict[str, Tensor]:
    """Weights of `TWO`: the logit of class 2 is ReLU(scale * (brightest pixel of the corner) + bias), the others 0.

    Each convolution copies one channel. The last feature map is 3x3, and only its first pixel is read.
    """
    weights = {name: torch.zeros_like(value) for name, value in build_network(TWO).state_dict().items()}
    weights["model.0.weight"][0, 0, 1, 1] = 1
    weights["model.3.weight"][0, 0, 1, 1] = 1
    weights["model.7.weight"][0, 0] = scale
    weights["model.7.bias"][0] = bias
    weights["model.9.weight"][2, 0] = 1
    return weights


def random_network(spec: NetworkSpec | BaselineSpec) -> tuple[Network, bytes]:
    torch.manual_seed(0)
    network = build_network(spec)
    for module in network.modules():  # running statistics as after a training, and different logits
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.weight) / 10
            module.running_var = torch.rand_like(module.weight) + 0.5
    return network.eval(), save({name: value.contiguous() for name, value in network.state_dict().items()})


def images(spec: NetworkSpec | BaselineSpec, count: int = 2) -> NDArray[np.float32]:
    shape = (count, spec.image_channels, *spec.image_size)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_integrated_gradients_are_zero_except_at_the_deciding_pixels() -> None:
    picture = np.random.default_rng(0).uniform(0.1, 1, (1, 1, 20, 20)).astype(np.float32)
    (why,) = explain(TWO, save(cornered()), picture)
    assert why.target == 2
    outside = np.abs(why.gradients).copy()
    outside[CORNER] = 0
    assert outside.max() == 0
    brightest = picture[0, 0][CORNER].max()
    assert why.gradients.sum() == pytest.approx(brightest, rel=1e-5)
    assert why.gain == pytest.approx(brightest, rel=1e-5)
    # The brightest pixel stays the brightest along the whole line; no other pixel has a gradient.
    assert why.gradients.max() == pytest.approx(brightest, rel=1e-5)


@pytest.mark.parametrize(("row", "column"), [(4, 4), (4, 15), (15, 4)])
def test_grad_cam_is_highest_at_the_features(row: int, column: int) -> None:
    """Grad-CAM weighs channels, not positions, so it shows the bright spot at any position."""
    picture = np.zeros((1, 1, 20, 20), np.float32)
    picture[0, 0, row - 1 : row + 2, column - 1 : column + 2] = 1
    (why,) = explain(TWO, save(cornered()), picture, target=2)
    assert (why.layer, why.layer_size) == ("model.5", (3, 3))
    high, across = divmod(int(why.grad_cam.argmax()), 20)
    assert (high < 10, across < 10) == (row < 10, column < 10)
    assert why.grad_cam[-row, -column] < why.grad_cam.max() / 10


@pytest.mark.parametrize("weight", [1.0, -1.0])
def test_grad_cam_keeps_only_positive_evidence(weight: float) -> None:
    weights = cornered(bias=9)
    weights["model.9.weight"][2, 0] = weight
    (why,) = explain(TWO, save(weights), np.ones((1, 1, 20, 20), np.float32), target=2)
    assert why.grad_cam.min() >= 0
    assert (why.grad_cam.max() > 0) == (weight > 0)


@pytest.mark.slow
def test_the_last_feature_map_of_a_cell_network_is_the_input_of_its_average() -> None:
    """Grad-CAM matches its formula for each kind of head."""
    for name in ("nasnet_cifar", "darts_cifar", "nas_bench_201"):
        check_grad_cam(replace(CELLS, skeleton=SKELETONS[name], auxiliary_head=False), GlobalPool)


@pytest.mark.parametrize("name", [pytest.param("resnet18", marks=pytest.mark.slow), "squeezenet1_1"])
def test_the_last_feature_map_of_a_baseline_is_the_input_of_its_pooling(name: str) -> None:
    check_grad_cam(BaselineSpec(baseline=name, classes=5, image_channels=3, image_size=(64, 64)), nn.AdaptiveAvgPool2d)


def check_grad_cam(spec: NetworkSpec | BaselineSpec, pooling: type[nn.Module]) -> None:
    network, weights = random_network(spec)
    taken: list[Tensor] = []
    (pool,) = (module for module in network.modules() if isinstance(module, pooling))

    def keep(_module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        taken.append(inputs[0].detach().clone().requires_grad_())
        return (taken[0],)

    pool.register_forward_pre_hook(keep)
    logits = network(torch.from_numpy(images(spec)))
    (features,) = taken
    highest = 0.0
    for target in (3, 4):
        (gradients,) = torch.autograd.grad(logits[:, target].sum(), features, retain_graph=True)
        coarse = (gradients.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1, keepdim=True).relu()
        maps = torch.nn.functional.interpolate(coarse, spec.image_size, mode="bilinear", align_corners=False)
        expected = maps.detach().numpy()[:, 0]
        for why, one in zip(explain(spec, weights, images(spec), target=target), expected, strict=True):
            assert why.layer_size == tuple(features.shape[2:])
            np.testing.assert_allclose(why.grad_cam, one, rtol=1e-3, atol=1e-5 * expected.max())
        highest = max(highest, expected.max())
    assert highest > 0


@pytest.mark.parametrize("spec", [CELLS, TWO], ids=["cells", "two_convolutions"])
def test_integrated_gradients_sum_to_the_gain_of_the_logit(spec: NetworkSpec | BaselineSpec) -> None:
    network, weights = random_network(spec)
    inputs = images(spec)
    with torch.no_grad():
        beginning, end = network(torch.zeros_like(torch.from_numpy(inputs))), network(torch.from_numpy(inputs))
    for index, why in enumerate(explain(spec, weights, inputs)):
        assert why.target == int(end[index].argmax())
        assert why.gain == pytest.approx(float((end - beginning)[index, why.target]), abs=1e-4)
        assert why.gradients.sum() - why.gain == pytest.approx(why.delta, abs=1e-9)
        assert abs(why.delta) <= max(RELATIVE_TOLERANCE * abs(why.gain), ABSOLUTE_TOLERANCE)
        np.testing.assert_allclose(why.probabilities, end[index].softmax(dim=0), atol=1e-5)


def test_steps_are_raised_if_the_logit_bends_and_the_error_is_reported() -> None:
    """The logit begins to grow in the last hundredth of the line, which contains at most one of 64 steps."""
    (why,) = explain(TWO, save(cornered(scale=100, bias=-99.13)), np.ones((1, 1, 20, 20), np.float32), target=2)
    assert why.gain == pytest.approx(0.87, abs=1e-3)
    assert why.steps > MIN_STEPS
    assert why.gradients.sum() == pytest.approx(why.gain + why.delta)
    assert abs(why.delta) <= max(RELATIVE_TOLERANCE * why.gain, ABSOLUTE_TOLERANCE) or why.steps == MAX_STEPS


def test_explaining_keeps_the_random_state_and_is_repeatable() -> None:
    _, weights = random_network(CELLS)
    before = torch.get_rng_state()
    one, other = (explain(CELLS, weights, images(CELLS, 1))[0] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(one.gradients, other.gradients)
    assert np.array_equal(one.grad_cam, other.grad_cam)


def test_the_weights_of_another_network_are_refused() -> None:
    _, weights = random_network(replace(CELLS, filters=6))
    with pytest.raises(ValueError, match="the weights are those of another network"):
        explain(CELLS, weights, images(CELLS))


def explained(channels: int, count: int = 2) -> Explained:
    generator = np.random.default_rng(0)
    why = Explanation(
        probabilities=np.array([0.2, 0.7, 0.1], np.float32),
        target=1,
        grad_cam=np.zeros((8, 8), np.float32),
        layer="head.0",
        layer_size=(2, 2),
        gradients=generator.normal(size=(8, 8)),
        gain=1.5,
        delta=0.004,
        steps=64,
    )
    pixels = generator.integers(0, 256, (8, 8, channels), np.uint8)
    picture = Picture(Path("a $picture$ with a very long name that has no room.png"), pixels, why)
    return Explained("runs/one/best", ("zero", "$one$", "two"), (picture,) * count)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_row_is_a_picture_with_its_classes_and_two_maps_with_true_pixels(channels: int) -> None:
    drawing = figure(explained(channels))
    *tiles, bar = drawing.axes
    assert len(tiles) == 6
    assert {tile.images[0].get_interpolation() for tile in tiles} == {"nearest"}
    assert all(tile.images[0].get_array().shape[:2] == (8, 8) for tile in tiles)  # type: ignore[union-attr]
    assert tiles[0].get_xlabel() == "$one$: 70.0%\nzero: 20.0%\ntwo: 10.0%"
    assert "…" in tiles[0].get_title()
    assert tiles[1].get_xlabel() == "nothing in it speaks for the class"
    assert "sum +1.50; the logit gains +1.50\n(delta +0.004, 64 steps)" in tiles[2].get_xlabel()
    assert "for the class" in bar.get_xticklabels()[2].get_text()
    drawing.draw_without_rendering()


@pytest.mark.parametrize("name", ["W" * 26, "abcdefghijklmnopqrstuvwxyz", "i" * 26, "w" * 200])
def test_no_text_is_wider_than_its_picture(name: str) -> None:
    drawing = figure(replace(explained(1, 1), classes=("zero", name, "two")))
    drawing.draw_without_rendering()
    for tile in drawing.axes[:3]:
        room = tile.get_window_extent().width * (TILE + GAP) / TILE
        assert tile.title.get_window_extent().width < room
        assert tile.xaxis.label.get_window_extent().width < room


def test_a_name_keeps_its_beginning_and_its_end_as_far_as_there_is_room() -> None:
    assert fit("Grad-CAM: ", "sneaker", "", points=8.5) == "Grad-CAM: sneaker"
    shown = fit("Integrated gradients: ", "abcdefghijklmnopqrstuvwxyz", "", points=8.5)
    assert shown.startswith("Integrated gradients: abc")
    assert "…" in shown
    assert shown.endswith("xyz")
    assert fit("", "$x$", "", points=8.5) == "$x$"


def test_the_most_pictures_can_be_drawn_however_tall_they_are() -> None:
    (first, *_) = explained(1).pictures
    tall = replace(
        first,
        pixels=np.zeros((64, 8, 1), np.uint8),
        explanation=replace(first.explanation, grad_cam=np.ones((64, 8), np.float32), gradients=np.ones((64, 8))),
    )
    drawing = figure(replace(explained(1), pictures=(tall,) * MAX_PICTURES))
    assert max(drawing.get_size_inches()) * 200 < 2**16


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A search that ended with a network for grey pictures of 8x8 pixels, and four pictures."""
    spec = replace(CELLS, classes=3, image_channels=1, image_size=(8, 8), auxiliary_head=False)
    _, weights = random_network(spec)
    data = {"image_shape": [8, 8, 1], "classes": ["sandal", "sneaker", "boot"], "mean": [60.0], "deviation": [80.0]}
    config = load_config(None, []).model_dump(mode="json")
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(info(state="completed", config=config, data=data))
    directory.best.write("network.json", json.dumps(spec.to_json()).encode())
    directory.best.write("weights.safetensors", weights)
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(generator.integers(0, 256, (20, 30), np.uint8)).save(tmp_path / "large.png")
    Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / "colour.png")
    (tmp_path / "text.png").write_text("no picture")
    return tmp_path


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_command_draws_and_tells(suffix: str, run: Path, cellscout: Any) -> None:
    done = cellscout("explain", "run", "grey.png", "large.png", "-o", f"why{suffix}")
    assert (done.status, done.err) == (0, "with the network in run/best\n")
    assert re.match(r"grey.png(  \w+ [\d.]+ %){3}\n", done.out)
    assert f"explained in why{suffix}" in done.out
    assert (run / f"why{suffix}").stat().st_size > 5000
    if suffix == ".png":
        width, height = Image.open(run / "why.png").size
        assert min(width, height) > 800


def test_the_command_tells_programs(run: Path, cellscout: Any) -> None:
    done = cellscout("explain", "run/best", "grey.png", "-o", "why.svg", "--class", "boot", "--json")
    found = json.loads(done.out)
    assert (found["output"], found["network"]) == ("why.svg", "run/best")
    (picture,) = found["pictures"]
    assert picture["path"] == "grey.png"
    assert sum(one["probability"] for one in picture["classes"]) == pytest.approx(1)
    assert picture["explained"]["class"] == "boot"
    assert picture["grad_cam"] == {"layer": "head.0", "height": 2, "width": 2}
    gradients = picture["integrated_gradients"]
    assert gradients["sum"] == pytest.approx(gradients["gain"] + gradients["delta"])
    assert "Integrated gradients: boot" in (run / "why.svg").read_text()
    again = cellscout("explain", "run/best", "grey.png", "-o", "again.svg", "--class", "boot", "--json")
    assert json.loads(again.out)["pictures"] == found["pictures"]
    assert (run / "again.svg").read_bytes() == (run / "why.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "grey.png", "none.png", "-o", "why.png"], "none.png: there is no such file"),
        (["run", "text.png", "-o", "why.png"], "text.png cannot be read as a picture"),
        (["run", "run", "-o", "why.png"], "run is a folder; name the pictures to explain, at most 50"),
        (["run", "colour.png", "-o", "why.png"], "colour.png has 3 channels (mode RGB); the network takes 1"),
        (["run", "grey.png", "-o", "why.png", "--class", "sneakers"], "did you mean 'sneaker'?"),
        (["run", "grey.png", "-o", "why.png", "--class", "q"], "known: sandal, sneaker, boot"),
        (["run", "grey.png", "-o", "why.jpg"], "why.jpg ends in '.jpg'; a picture can be .svg, .png, .pdf"),
        (
            ["run", "grey.png", "-o", "none/why.png"],
            "none/why.png cannot be written: there is no folder none",
        ),
        (["none", "grey.png", "-o", "why.png"], "none holds no run"),
        (
            ["run", *["grey.png"] * (MAX_PICTURES + 1), "-o", "why.png"],
            "51 pictures are given; a figure can show 1 to",
        ),
    ],
)
def test_bad_input_is_told_in_one_line(arguments: list[str], message: str, run: Path, cellscout: Any) -> None:
    before = sorted(run.rglob("*"))
    done = cellscout("explain", *arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert message in done.err
    assert sorted(run.rglob("*")) == before


def test_weights_of_another_network_are_told_in_one_line(run: Path, cellscout: Any) -> None:
    _, weights = random_network(CELLS)
    RunDirectory.at(run / "run").best.write("weights.safetensors", weights)
    done = cellscout("explain", "run", "grey.png", "-o", "why.png")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "run/best: the weights are those of another network" in done.err


def test_without_captum_the_extra_is_named_before_anything_else(
    cellscout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "captum" else find(name, *more)
    )
    done = cellscout("explain", "nothing", "nowhere.png", "-o", "why.txt")
    assert (done.status, done.out) == (2, "")
    assert done.err == 'cellscout: cellscout explain needs captum: pip install "cellscout[explain]"\n'


def test_the_layer_does_not_belong_to_the_auxiliary_head() -> None:
    """The auxiliary head exists only in training."""
    network, weights = random_network(CELLS)
    assert isinstance(network, CellNetwork)
    assert network.auxiliary is not None
    (why,) = explain(CELLS, weights, images(CELLS, 1))
    assert (why.layer, why.layer_size) == ("head.0", (8, 8))
