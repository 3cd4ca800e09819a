"""Operations of the user's own: layers or a PyTorch module, named `module:NAME`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from orchestrator.report.drawing.cell_layout import OTHER_COLOUR, lay_out
from tests.own_operations import EXAMPLE, EXAMPLES, spec_with
from tests.stepping import PLAN
from tests.trained import random_weights
from trainables.costs import network_costs
from trainables.explanation import explain
from trainables.layers import TorchModule
from trainables.modules import Regularisation, RowModule, State
from trainables.network import CellNetwork
from trainables.network_plan import plan_network
from trainables.network_spec import NetworkSpec
from trainables.operations import OPERATIONS
from trainables.own_operations import build_operation
from trainables.skeleton import NASNET_CIFAR, SKELETONS

ODD = """
from torch import nn
from trainables.layers import BatchNorm, Convolution, Dropout, GlobalPool, Parallel, Pool, Relu, TorchModule


def lists(in_channels, filters, *, stride, rules):
    return [Relu()]


def raises(in_channels, filters, *, stride, rules):
    raise KeyError(stride)


def needs_more(in_channels):
    return ()


def keeps_the_width(in_channels, filters, *, stride, rules):
    return (Convolution(in_channels, in_channels + 1, (3, 3), padding="same", stride=(stride, stride)),)


def keeps_the_size(in_channels, filters, *, stride, rules):
    return (Convolution(in_channels, filters, (3, 3), padding="same"),)


def misfits(in_channels, filters, *, stride, rules):
    return (BatchNorm(in_channels + 1, 1e-5, 0.1),)


def forgets_the_filters(in_channels, filters, *, stride, rules):
    convolution = Convolution(in_channels, filters, 1, padding="same", stride=stride)
    return (convolution, BatchNorm(in_channels, 1e-5, 0.1))


def groups_badly(in_channels, filters, *, stride, rules):
    return (Convolution(in_channels, filters, 3, padding="same", stride=stride, groups=3),)


def pools_badly(in_channels, filters, *, stride, rules):
    return (Pool("maximum", 3, stride=stride, padding="same"),)


def adds_badly(in_channels, filters, *, stride, rules):
    return (Parallel(((),), "sum"),)


def pads_badly(in_channels, filters, *, stride, rules):
    return (Convolution(in_channels, filters, 3, padding=1, stride=stride),)


def has_no_rows(in_channels, filters, *, stride, rules):
    return (Parallel((Relu(), Relu()), "add"),)


def names(in_channels, filters, *, stride, rules):
    return ("conv_3x3",)


def flattens(in_channels, filters, *, stride, rules):
    return (GlobalPool("average"),)


def module(make, **values):
    def build(in_channels, filters, *, stride, rules):
        costs = {"parameters": 0, "macs": lambda size: 0, "activation_bytes": lambda size: 0}
        return (TorchModule(**{"make": make, "channels": filters, "stride": stride, **costs, **values}),)

    return build


def spans_even_pixels(in_channels, filters, *, stride, rules):
    return (Convolution(in_channels, filters, 2, padding=rules.padding, stride=stride),)


def rectifies_what_it_reads(in_channels, filters, *, stride, rules):
    layer = Convolution(in_channels, filters, 1, padding=rules.padding, stride=stride)
    return (Dropout(0.1), Parallel(((),), "add"), Relu(), layer)


uncounted = module(lambda: nn.Conv2d(4, 4, 1))
another_size = module(lambda: nn.MaxPool2d(3))
no_module = module(lambda: "a module")
number = 3
"""


@pytest.fixture
def example_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the example's module importable, as it is for a command that runs in its folder."""
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "odd_operations.py").write_text(ODD)
    (tmp_path / "broken_operations.py").write_text("1 / 0")


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conv_9x9", r"^unknown operation 'conv_9x9'; known: none, identity, .*, or 'module:NAME'$"),
        ("not_there:x", r"^operation 'not_there:x': module 'not_there' cannot be imported: .*looked for among "),
        ("odd_operations:x", r"^operation 'odd_operations:x': module 'odd_operations' .*has no 'x'; "),
        ("broken_operations:x", "module 'broken_operations' raised ZeroDivisionError: division by zero$"),
        ("odd_operations:number", "TypeError: 'int' object is not callable$"),
        ("odd_operations:lists", "TypeError: it returned list; a tuple of layers is needed$"),
        ("odd_operations:names", "TypeError: it returned a tuple with 'conv_3x3', which is not a layer$"),
        ("odd_operations:forgets_the_filters", r"in_channels=\d+, filters=4, .*: BatchNorm expects \d+ channels but"),
        ("odd_operations:groups_badly", "in_channels = 4 and groups = 3; the groups must divide the channels$"),
        ("odd_operations:pools_badly", "ValueError: kind of a pool is 'maximum'; known: max, average$"),
        ("odd_operations:adds_badly", "ValueError: combination of a Parallel is 'sum'; known: add, concat$"),
        ("odd_operations:pads_badly", "ValueError: padding of a convolution is 1; known: same, symmetric, valid$"),
        ("odd_operations:has_no_rows", "a row of a Parallel is Relu\\(\\); each row is a tuple of layers$"),
        ("odd_operations:raises", "^operation 'odd_operations:raises' with in_channels=.*, stride=1: KeyError: 1$"),
        ("odd_operations:needs_more", "TypeError: needs_more.. got an unexpected keyword argument"),
        ("odd_operations:keeps_the_width", r"maps \(7, 8\) pixels to \d+ channels of .*; \d+ channels of .* needed$"),
        ("odd_operations:keeps_the_size", r"channels of \(7, 8\) pixels; 4 channels of \(4, 4\) are needed$"),
        ("odd_operations:misfits", "ValueError: BatchNorm expects 5 channels but gets 4$"),
        ("odd_operations:flattens", "ValueError: GlobalPool cannot be a layer of an operation$"),
    ],
)
def test_an_operation_that_cannot_be_built_is_refused_before_the_search(name: str, message: str) -> None:
    """In every space that has it, whatever candidate is drawn first."""
    with pytest.raises(ValueError, match=message) as caught:
        replace(PLAN, space=replace(PLAN.space, operations=(*PLAN.space.operations, name))).check()
    assert "\n" not in str(caught.value)


def test_a_module_that_searches_when_it_is_imported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a script without a guard, whose own operation the search imports by the script's name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unguarded.py").write_text("import cellscout\ncellscout.search(cellscout.load_config())")
    with pytest.raises(
        ValueError, match="'unguarded' starts a search while it is imported; write that call under if __n"
    ):
        build_operation("unguarded:mine", 4, 4, stride=1, rules=NASNET_CIFAR.operations)
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize("size", [(7, 8), (8, 8)])
def test_an_even_kernel_keeps_the_size_or_is_refused(size: tuple[int, int]) -> None:
    name = "odd_operations:spans_even_pixels"
    plan = replace(PLAN, space=replace(PLAN.space, operations=(name,)), image_shape=(*size, 1))
    plan.check()
    architecture = plan.space.sample(np.random.default_rng(0))
    spec = plan.network_spec(architecture)
    images = torch.zeros(1, 1, *size)
    with FlopCounterMode(display=False) as counter:
        CellNetwork(spec).eval()(images)
    assert network_costs(spec).macs == counter.get_total_flops() / 2
    with pytest.raises(ValueError, match="the kernel 2 and the dilation 1 spans an even number of pixels, which symm"):
        replace(plan, skeleton=SKELETONS["darts_cifar"]).check()


@pytest.mark.usefixtures("odd")
def test_an_operation_does_not_change_the_state_that_others_read() -> None:
    row = build_operation("odd_operations:rectifies_what_it_reads", 4, 4, stride=1, rules=NASNET_CIFAR.operations)
    state = torch.full((1, 4, 8, 8), -1.0)
    RowModule(row, Regularisation()).eval().read(State(state))
    assert (state == -1).all()


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("uncounted", "^Conv2d has 20 trainable parameters; its TorchModule states parameters = 0$"),
        ("no_module", "^TorchModule.make returned str; it must return a torch.nn.Module$"),
        ("another_size", r"^MaxPool2d returned \[\d+, 2, 2\] for an image of .*; its TorchModule states \[4, 8, 8\]$"),
    ],
)
def test_a_module_that_differs_from_what_it_states_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CellNetwork(spec_with(f"odd_operations:{name}"))(torch.zeros(2, 1, 8, 8))


def test_the_table_of_operations_is_read_only() -> None:
    """What one process adds would be unknown to workers, retraining and export."""
    table: Any = OPERATIONS
    with pytest.raises(TypeError, match="does not support item assignment"):
        table["mine"] = OPERATIONS["none"]


@pytest.mark.usefixtures("example_operations")
def test_a_recorded_network_is_enough_to_build_it() -> None:
    """As retraining, prediction and export do, which read `network.json`."""
    spec = NetworkSpec.from_json(spec_with(*EXAMPLE).to_json())
    network = CellNetwork(spec)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert network_costs(spec).parameters == sum(parameter.numel() for parameter in network.parameters())
    assert plan_network(replace(spec, drop_path_probability=0.5)).cells[0].edges


@pytest.mark.usefixtures("example_operations")
def test_a_network_with_own_operations_is_explained() -> None:
    spec = spec_with(*EXAMPLE)
    images = np.random.default_rng(0).standard_normal((1, 1, 8, 8)).astype(np.float32)
    (found,) = explain(spec, random_weights(spec), images)
    assert found.probabilities.shape == (10,)


def test_costs_that_are_no_functions_are_refused_by_their_names() -> None:
    with pytest.raises(TypeError, match="macs of a TorchModule is 0; it must be a function"):
        TorchModule(make=dict, channels=4, parameters=0, macs=cast(Any, 0), activation_bytes=lambda size: 0)


def test_an_operation_of_a_script_is_refused() -> None:
    with pytest.raises(ValueError, match="workers cannot import from __main__; put it into a module of its own"):
        build_operation("__main__:mine", 4, 4, stride=1, rules=NASNET_CIFAR.operations)


def test_own_operations_are_drawn_by_their_own_names() -> None:
    boxes = lay_out(spec_with("conv_things:shuffled").architecture.normal).boxes
    assert [box.colour for box in boxes if box.text == "shuffled"] == [OTHER_COLOUR] * 2
