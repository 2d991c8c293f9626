from __future__ import annotations

import pytest
import torch
from torch import nn

from medadv.models.residual_network import ResidualBlock, ResidualNetwork


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (2, 1, 64, 64)),
        ({"in_channels": 3, "classes": 5, "width": 4, "blocks": (2, 1)}, (3, 3, 33, 17)),
        ({"width": 4, "blocks": (1, 1, 1, 1)}, (1, 1, 1, 1)),
    ],
)
def test_logits_for_any_size(options, shape) -> None:
    logits = ResidualNetwork(**options).eval()(torch.rand(shape))
    assert logits.shape == (shape[0], options.get("classes", 2))


def test_images_are_normalised_inside() -> None:
    torch.manual_seed(0)
    plain = ResidualNetwork(width=4, mean=0.0, std=1.0).eval()
    inside = ResidualNetwork(width=4, mean=0.3, std=0.2).eval()
    weights = plain.state_dict()
    inside.load_state_dict({**weights, "mean": torch.tensor(0.3), "std": torch.tensor(0.2)})
    images = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(inside(images), plain((images - 0.3) / 0.2))
    assert {"mean", "std"} <= inside.state_dict().keys()


def test_stages_double_the_width_and_halve_the_image() -> None:
    network = ResidualNetwork(width=4, blocks=(2, 1, 3))
    assert [type(block) for block in network.stages] == [ResidualBlock] * 6
    features = network.stem(torch.zeros(1, 1, 64, 64))
    shapes = []
    for block in network.stages:
        features = block(features)
        shapes.append(tuple(features.shape[1:]))
    assert shapes == [(4, 32, 32)] * 2 + [(8, 16, 16)] + [(16, 8, 8)] * 3


def test_a_block_adds_its_input() -> None:
    block = ResidualBlock(3, 3, 1)
    nn.init.zeros_(block.second[2].weight)
    features = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(block(features), features)


def test_all_parameters_get_gradients() -> None:
    network = ResidualNetwork(width=4)
    network(torch.rand(4, 1, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_the_same_seed_gives_the_same_network() -> None:
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(ResidualNetwork().eval())
    images = torch.rand(1, 1, 32, 32)
    assert torch.equal(networks[0](images), networks[1](images))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"in_channels": 0}, "in_channels must be 1 or above, got 0"),
        ({"classes": 1}, "classes must be 2 or above, got 1"),
        ({"width": 0}, "width must be 1 or above, got 0"),
        ({"blocks": ()}, "blocks must hold at least one stage"),
        ({"blocks": (1, 0)}, "blocks must hold at least one stage"),
        ({"std": 0.0}, "std must be above 0"),
    ],
)
def test_wrong_arguments(options, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        ResidualNetwork(**options)
