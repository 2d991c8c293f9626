from __future__ import annotations

import pytest
import torch
from torch import nn

from medadv.models.mobile_network import InvertedResidual, MobileNetwork


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (2, 1, 64, 64)),
        ({"in_channels": 3, "classes": 5, "width": 4, "blocks": (2, 1), "expansion": 2}, (3, 3, 33, 17)),
        ({"width": 4, "blocks": (1, 1, 1, 1)}, (1, 1, 1, 1)),
    ],
)
def test_logits_for_any_size(options, shape) -> None:
    logits = MobileNetwork(**options).eval()(torch.rand(shape))
    assert logits.shape == (shape[0], options.get("classes", 2))


def test_the_middle_convolution_keeps_the_channels_apart() -> None:
    block = InvertedResidual(2, 2, 1, expansion=3)
    wide, _, _, apart, _, _, narrow, _ = block.change
    assert [layer.weight.shape for layer in (wide, apart, narrow)] == [(6, 2, 1, 1), (6, 1, 3, 3), (2, 6, 1, 1)]
    features = torch.zeros(1, 6, 5, 5)
    features[:, 2] = 1
    changed = apart(features)[0].abs().sum((1, 2)) > 0
    assert changed.tolist() == [False, False, True, False, False, False]


def test_a_block_adds_its_input_only_where_the_shape_stays() -> None:
    features = torch.rand(1, 3, 4, 4)
    for channels, stride, adds in ((3, 1, True), (3, 2, False), (4, 1, False)):
        block = InvertedResidual(3, channels, stride, expansion=2).eval()
        nn.init.zeros_(block.change[6].weight)
        result = block(features)
        torch.testing.assert_close(result, features if adds else torch.zeros_like(result))


def test_stages_double_the_width_and_halve_the_image() -> None:
    network = MobileNetwork(width=4, blocks=(1, 2))
    features = network.stem(torch.zeros(1, 1, 64, 64))
    shapes = []
    for block in network.stages:
        features = block(features)
        shapes.append(tuple(features.shape[1:]))
    assert shapes == [(4, 32, 32), (8, 16, 16), (8, 16, 16)]


def test_images_are_normalised_inside() -> None:
    torch.manual_seed(0)
    plain = MobileNetwork(width=4, mean=0.0, std=1.0).eval()
    inside = MobileNetwork(width=4, mean=0.3, std=0.2).eval()
    inside.load_state_dict({**plain.state_dict(), "mean": torch.tensor(0.3), "std": torch.tensor(0.2)})
    images = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(inside(images), plain((images - 0.3) / 0.2))


def test_all_parameters_get_gradients() -> None:
    torch.manual_seed(0)
    network = MobileNetwork(width=4)
    network(torch.rand(4, 1, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"classes": 1}, "classes must be 2 or above, got 1"),
        ({"width": 0}, "width must be 1 or above, got 0"),
        ({"expansion": 0}, "expansion must be 1 or above, got 0"),
        ({"blocks": ()}, "blocks must hold at least one stage"),
        ({"std": 0.0}, "std must be above 0"),
    ],
)
def test_wrong_arguments(options, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        MobileNetwork(**options)
