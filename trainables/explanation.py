"""Why a network says what it says of an image: Grad-CAM and integrated gradients, by captum. Arrays in, arrays out.

Both explain the logit of one class, and are maps of the image's size. Grad-CAM (Selvaraju et al. 2017, equations 1 and
2) weighs the channels of the last feature map by their mean gradients, and leaves out what speaks against the class.
Integrated gradients (Sundararajan et al. 2017, equation 1) follow the straight line from the mean training pixel,
which is zero after normalisation, to the image; they sum to what the logit gains on that way (completeness). The
integral is a sum over steps, and how far it misses is `delta`: steps are raised until it is small, or very many.

Does not know where images come from, or how maps are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from trainables.baseline_spec import BaselineSpec
from trainables.baselines import Network, build_network
from trainables.modules import GlobalAverage
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec

FEWEST_STEPS = 64
MOST_STEPS = 1024
MORE_STEPS = 4
"""By this factor steps are raised, until the delta is within its tolerance or there are the most steps."""
RELATIVE_TOLERANCE = 0.01
"""Of the delta: this part of what the logit gains,"""
ABSOLUTE_TOLERANCE = 0.005
"""or so much of a logit, which nobody would see."""
STEPS_AT_ONCE = 64

_ADAPTIVE_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
"""They end the part of a network that knows places; VGG's even makes 7x7 equal pixels of one."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Of one image; height and width are the image's.

    Args:
        probabilities: of the classes.
        target: the class that is explained.
        grad_cam: [height, width], at least 0, in no unit; bilinear between the pixels of the feature map.
        layer: the module whose feature map Grad-CAM weighs.
        layer_size: height and width of that map, in its own pixels.
        gradients: integrated gradients, [height, width], in logits, summed over the image's channels.
        gain: the target's logit for the image, less that for the mean training pixel everywhere.
        delta: by how much the sum of the integrated gradients is larger than the gain.
        steps: of the integration.
    """

    probabilities: NDArray[np.float32]
    target: int
    grad_cam: NDArray[np.float32]
    layer: str
    layer_size: tuple[int, int]
    gradients: NDArray[np.float64]
    gain: float
    delta: float
    steps: int


def explain(
    spec: NetworkSpec | BaselineSpec, weights: bytes, images: NDArray[np.float32], target: int | None = None
) -> list[Explanation]:
    """Explain a network's classes of images, on the GPU if there is one.

    Args:
        spec, weights: the network; the weights as a safetensors file.
        images: normalised, [n, channels, height, width].
        target: the class to explain; None: of each image the most probable one.

    Raises:
        ValueError: the weights are those of another network, or it has no feature map.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):  # for the random weights, which are replaced
        network = build_network(spec)
    try:
        network.load_state_dict(load(weights))
    except (RuntimeError, SafetensorError) as error:
        raise ValueError("the weights are those of another network") from error
    network.to(device).eval().requires_grad_(False)
    inputs = torch.from_numpy(images).to(device)
    name, module, is_input = _last_feature_map(network, inputs[:1])
    found = []
    for image in inputs.split(1):
        with torch.no_grad():
            logits = network(image)[0]
        chosen = int(logits.argmax()) if target is None else target
        coarse = LayerGradCam(network, module).attribute(
            image.clone().requires_grad_(), chosen, attribute_to_layer_input=is_input, relu_attributions=True
        )
        grad_cam = LayerAttribution.interpolate(coarse, tuple(image.shape[2:]), "bilinear")
        gradients, delta, steps, gain = _integrated_gradients(network, image, chosen)
        found.append(
            Explanation(
                probabilities=logits.softmax(dim=0).cpu().numpy(),
                target=chosen,
                grad_cam=grad_cam[0, 0].detach().cpu().numpy(),
                layer=name,
                layer_size=(coarse.shape[2], coarse.shape[3]),
                gradients=gradients,
                gain=gain,
                delta=delta,
                steps=steps,
            )
        )
    return found


def _integrated_gradients(
    network: Network, image: Tensor, target: int
) -> tuple[NDArray[np.float64], float, int, float]:
    """The map, its delta, the steps taken, and what the logit gains."""
    with torch.no_grad():
        there, here = network(torch.cat([image, torch.zeros_like(image)]))[:, target].double().tolist()
    gain = there - here
    steps = FEWEST_STEPS
    while True:
        attributed = IntegratedGradients(network).attribute(
            image, target=target, n_steps=steps, method="riemann_middle", internal_batch_size=STEPS_AT_ONCE
        )
        gradients = attributed[0].double().sum(dim=0).cpu().numpy()
        delta = float(gradients.sum()) - gain
        if abs(delta) <= max(RELATIVE_TOLERANCE * abs(gain), ABSOLUTE_TOLERANCE) or steps >= MOST_STEPS:
            return gradients, delta, steps, gain
        steps *= MORE_STEPS


def _last_feature_map(network: Network, image: Tensor) -> tuple[str, nn.Module, bool]:
    """The name of the module, the module, and whether its input is meant rather than its output.

    In a network of cells it is what is averaged over all places; in others the last that a module gives with several
    rows and columns, adaptive pooling left out. (On images that are small for a network, places may be gone long before
    its end.)

    Raises:
        ValueError: there is none.
    """
    if isinstance(network, CellNetwork):
        names = {module: name for name, module in network.named_modules()}
        pooling = next(module for module in network.head if isinstance(module, GlobalAverage))
        return names[pooling], pooling, True
    last: list[tuple[str, nn.Module]] = []
    with _watching(network, last, max(network.input_size)), torch.no_grad():
        network(image)
    if not last:
        raise ValueError("it has no feature map")
    name, module = last[-1]
    return name, module, False


@contextmanager
def _watching(network: nn.Module, found: list[tuple[str, nn.Module]], most: int) -> Iterator[None]:
    """Within it, each module that gives a feature map of at most so many rows and columns is added to `found`."""

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def note(_module: nn.Module, _inputs: object, output: object) -> None:
            # No larger than the images, or the last two dimensions are not height and width, as in Swin's.
            if isinstance(output, Tensor) and output.dim() == 4 and all(1 < side <= most for side in output.shape[2:]):
                found.append((name, module))

        return module.register_forward_hook(note)

    handles = [
        watch(name, module) for name, module in network.named_modules() if not isinstance(module, _ADAPTIVE_POOLS)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
