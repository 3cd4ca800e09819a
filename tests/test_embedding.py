"""The first layer of networks for texts, beside PyTorch's embedding: outputs, gradients, costs, dropped tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.kept_tensors import kept_for_backward
from tests.trained import small_spec
from trainables.costs import network_costs
from trainables.latency import measure_latency
from trainables.layers import PADDING, UNKNOWN, Embedding
from trainables.modules import Regularisation
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec
from trainables.skeleton import SKELETONS

TOKENS, DIMENSION, LENGTH = 11, 6, 19
PLAIN = replace(small_spec(), image_channels=DIMENSION, image_size=(LENGTH,))
"""The same network without an embedding, for sequences of as many channels."""
SPEC = replace(PLAIN, image_channels=1, embedding=Embedding(TOKENS, DIMENSION))


def texts(count: int = 5) -> Tensor:
    return torch.randint(TOKENS, (count, LENGTH), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("skeleton", ["nasnet_cifar", "nasnet_mobile", "darts_imagenet"])
def test_a_network_for_texts_is_an_embedding_before_a_network_for_sequences(skeleton: str) -> None:
    torch.manual_seed(0)
    ours = CellNetwork(replace(SPEC, filters=16, skeleton=SKELETONS[skeleton])).double()
    plain = CellNetwork(replace(PLAIN, filters=16, skeleton=SKELETONS[skeleton])).double()
    embedding = nn.Embedding(TOKENS, DIMENSION, padding_idx=0).double()
    vectors, *others = ours.state_dict().values()
    embedding.load_state_dict({"weight": vectors})
    plain.load_state_dict(dict(zip(plain.state_dict(), others, strict=True)))
    logits, expected = ours(texts()), plain(embedding(texts()).permute(0, 2, 1))
    assert isinstance(logits, Tensor)
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-10)
    logits.square().sum().backward()
    expected.square().sum().backward()
    gradient = next(ours.parameters()).grad
    torch.testing.assert_close(gradient, embedding.weight.grad, rtol=0, atol=1e-10)
    assert gradient is not None
    assert (gradient[PADDING] == 0).all()
    assert (vectors[PADDING] == 0).all()


def test_an_embedding_has_parameters_but_no_multiply_adds() -> None:
    costs, plain = network_costs(SPEC), network_costs(PLAIN)
    assert costs.parameters == plain.parameters + TOKENS * DIMENSION
    assert costs.parameters == sum(parameter.numel() for parameter in CellNetwork(SPEC).parameters())
    assert costs.macs == plain.macs
    assert kept_for_backward(CellNetwork(SPEC), texts(2)) == 2 * costs.activation_bytes


def test_the_vectors_begin_short() -> None:
    torch.manual_seed(0)
    vectors = next(CellNetwork(replace(SPEC, embedding=Embedding(500, 64))).parameters()).detach()
    assert float(vectors[1:].std()) == pytest.approx(0.05, rel=0.05)


def test_dropped_tokens_are_unknown_and_padding_stays() -> None:
    regularisation = Regularisation()
    regularisation.generator = torch.Generator().manual_seed(0)
    tokens = torch.full((200, 50), 7)
    tokens[:, 30:] = PADDING
    dropped = regularisation.drop_tokens(tokens, 0.25)
    assert (dropped[:, 30:] == PADDING).all()
    assert set(dropped[:, :30].unique().tolist()) == {7, UNKNOWN}
    assert float((dropped[:, :30] == UNKNOWN).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_tokens_are_dropped_in_training_only() -> None:
    torch.manual_seed(0)
    network = CellNetwork(replace(SPEC, embedding=Embedding(TOKENS, DIMENSION, dropout=0.5)))
    seen: list[Tensor] = []
    layer = next(module for module in network.modules() if isinstance(module, nn.Embedding))
    network.regularisation.generator = torch.Generator().manual_seed(0)
    layer.register_forward_hook(lambda module, given, output: seen.append(output))
    for mode in (True, False):
        network.train(mode)(texts())
    vectors = layer(texts())
    assert (seen[0] != vectors).any()
    torch.testing.assert_close(seen[1], vectors, rtol=0, atol=0)


def test_drop_path_and_an_auxiliary_head_take_texts() -> None:
    spec = replace(SPEC, image_size=(64,), auxiliary_head=True, drop_path_probability=0.3)
    network = CellNetwork(spec).train()
    network.regularisation.keep = torch.tensor(network.regularisation.keep_at(1.0))
    logits, auxiliary = network.all_logits(torch.randint(TOKENS, (4, 64)))
    assert auxiliary is not None
    assert logits.shape == auxiliary.shape == (4, spec.classes)


def test_the_latency_of_a_network_for_texts_is_measured() -> None:
    assert measure_latency(CellNetwork(SPEC), torch.device("cpu")).median_seconds > 0


def test_a_network_for_texts_travels_as_json() -> None:
    assert NetworkSpec.from_json(SPEC.to_json()) == SPEC
    before = {name: value for name, value in PLAIN.to_json().items() if name != "embedding"}
    assert NetworkSpec.from_json(before) == PLAIN


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tokens": 1}, "tokens of an embedding is 1; a whole number of at least 2"),
        ({"channels": 0}, "channels of an embedding is 0; a whole number of at least 1"),
        ({"dropout": 1.0}, "dropout of an embedding is 1.0; it must be at least 0 and below 1"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Embedding(**{"tokens": TOKENS, "channels": DIMENSION, **values})


def test_an_embedding_of_images_is_refused() -> None:
    with pytest.raises(ValueError, match="an embedding needs sequences of one channel"):
        replace(SPEC, image_size=(8, 8))
