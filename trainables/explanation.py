"""Explains a network's prediction for an image by Grad-CAM and integrated gradients, computed by captum.

Both explain the logit of one class and give maps of the image's size. Grad-CAM (Selvaraju et al. 2017, equations 1 and
2) weighs the channels of the last feature map by their mean gradients and keeps only positive evidence for the class.
Integrated gradients (Sundararajan et al. 2017, equation 1) integrate along the straight line from the mean training
pixel, which is zero after normalisation, to the image. They sum to the difference of the logit between its ends
(completeness). The integral is approximated by a sum over steps with an error `delta`. The number of steps is raised
until the error is small or the number reaches `MAX_STEPS`.

Does not know where images come from, or how maps are drawn. Takes and returns arrays.
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
from trainables.build_network import Network, build_network
from trainables.modules import GlobalPool
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec

MIN_STEPS = 64
MAX_STEPS = 1024
STEPS_FACTOR = 4
"""Factor by which the number of steps is raised, until the delta is within its tolerance or `MAX_STEPS` is reached."""
RELATIVE_TOLERANCE = 0.01
"""Tolerance of the delta as a fraction of the gain; the larger of the two tolerances holds."""
ABSOLUTE_TOLERANCE = 0.005
"""Tolerance of the delta in logits, too small to be visible in a map."""
STEPS_PER_BATCH = 64

_ADAPTIVE_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
"""Layers that end the spatial part of a network; VGG's even repeats one pixel 7x7 times."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Explanation of one image. Maps have the image's height and width."""

    probabilities: NDArray[np.float32]
    """Probabilities of the classes, [classes]."""
    target: int
    """The class that is explained."""
    grad_cam: NDArray[np.float32]
    """Grad-CAM, [height, width], at least 0, without a unit; bilinear between the pixels of the feature map."""
    layer: str
    """Name of the module whose feature map Grad-CAM weighs."""
    layer_size: tuple[int, int]
    """Height and width of that feature map, in its own pixels."""
    gradients: NDArray[np.float64]
    """Integrated gradients, [height, width], in logits, summed over the image's channels."""
    gain: float
    """The target's logit for the image, minus its logit for the mean training pixel everywhere."""
    delta: float
    """The sum of the integrated gradients minus the gain."""
    steps: int
    """Number of integration steps."""


def explain(
    spec: NetworkSpec | BaselineSpec, weights: bytes, images: NDArray[np.float32], *, target: int | None = None
) -> list[Explanation]:
    """Explain a network's predictions for images, on the GPU if there is one.

    Args:
        spec: the network.
        weights: its weights, as the contents of a safetensors file.
        images: normalised images [n, channels, height, width].
        target: the class to explain; None explains the most probable class of each image.

    Raises:
        ValueError: the weights are those of another network, or the network has no feature map.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):  # random initial weights are drawn and then replaced
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
    """Return the map, its delta, the number of steps, and the gain of the logit."""
    with torch.no_grad():
        end, beginning = network(torch.cat([image, torch.zeros_like(image)]))[:, target].double().tolist()
    gain = end - beginning
    steps = MIN_STEPS
    while True:
        attributed = IntegratedGradients(network).attribute(
            image, target=target, n_steps=steps, method="riemann_middle", internal_batch_size=STEPS_PER_BATCH
        )
        gradients = attributed[0].double().sum(dim=0).cpu().numpy()
        delta = float(gradients.sum()) - gain
        if abs(delta) <= max(RELATIVE_TOLERANCE * abs(gain), ABSOLUTE_TOLERANCE) or steps >= MAX_STEPS:
            return gradients, delta, steps, gain
        steps *= STEPS_FACTOR


def _last_feature_map(network: Network, image: Tensor) -> tuple[str, nn.Module, bool]:
    """The module of the last feature map: its name, the module, and whether the map is its input (else its output).

    In a network of cells, the map is the input of the global pooling. In other networks, it is the last module output
    with several rows and columns, except outputs of adaptive pooling. (If images are small for a network, feature maps
    may shrink to one pixel long before its end.)

    Raises:
        ValueError: there is no feature map.
    """
    if isinstance(network, CellNetwork):
        names = {module: name for name, module in network.named_modules()}
        pooling = next(module for module in network.head if isinstance(module, GlobalPool))
        return names[pooling], pooling, True
    last: list[tuple[str, nn.Module]] = []
    with _record_feature_maps(network, last, max_side=max(network.input_size)), torch.no_grad():
        network(image)
    if not last:
        raise ValueError("the network has no feature map")
    name, module = last[-1]
    return name, module, False


@contextmanager
def _record_feature_maps(network: nn.Module, found: list[tuple[str, nn.Module]], *, max_side: int) -> Iterator[None]:
    """In this context, append each module to `found` that outputs a feature map of at most `max_side` pixels a side."""

    def register(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def record(_module: nn.Module, _inputs: object, output: object) -> None:
            if not isinstance(output, Tensor) or output.dim() != 4:
                return
            # If a side is larger than the images, the last two dimensions are not height and width, as in Swin.
            if all(1 < side <= max_side for side in output.shape[2:]):
                found.append((name, module))

        return module.register_forward_hook(record)

    handles = [
        register(name, module) for name, module in network.named_modules() if not isinstance(module, _ADAPTIVE_POOLS)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
