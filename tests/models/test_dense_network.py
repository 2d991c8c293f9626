from __future__ import annotations

import pytest
import torch

from medadv.models.dense_network import DenseLayer, DenseNetwork, Transition


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (2, 1, 64, 64)),
        ({"in_channels": 3, "classes": 5, "growth": 4, "layers": (2, 1)}, (3, 3, 33, 17)),
        ({"growth": 4, "layers": (1, 1, 1, 1)}, (1, 1, 1, 1)),
    ],
)
def test_logits_for_any_size(options, shape) -> None:
    logits = DenseNetwork(**options).eval()(torch.rand(shape))
    assert logits.shape == (shape[0], options.get("classes", 2))


def test_a_layer_keeps_what_came_before_and_adds_what_it_made() -> None:
    layer = DenseLayer(3, 2).eval()
    features = torch.rand(2, 3, 5, 5)
    result = layer(features)
    assert torch.equal(result[:, :3], features)
    torch.testing.assert_close(result[:, 3:], layer.new(features))


def test_stages_grow_and_transitions_halve_channels_and_image() -> None:
    network = DenseNetwork(growth=4, layers=(2, 1))
    assert [type(part) for part in network.stages] == [DenseLayer, DenseLayer, Transition, DenseLayer]
    features = network.stem(torch.zeros(1, 1, 64, 64))
    shapes = [tuple(features.shape[1:])]
    for part in network.stages:
        features = part(features)
        shapes.append(tuple(features.shape[1:]))
    assert shapes == [(8, 32, 32), (12, 32, 32), (16, 32, 32), (8, 16, 16), (12, 16, 16)]


def test_images_are_normalised_inside() -> None:
    torch.manual_seed(0)
    plain = DenseNetwork(growth=4, mean=0.0, std=1.0).eval()
    inside = DenseNetwork(growth=4, mean=0.3, std=0.2).eval()
    inside.load_state_dict({**plain.state_dict(), "mean": torch.tensor(0.3), "std": torch.tensor(0.2)})
    images = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(inside(images), plain((images - 0.3) / 0.2))


def test_all_parameters_get_gradients() -> None:
    network = DenseNetwork(growth=4)
    network(torch.rand(4, 1, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"in_channels": 0}, "in_channels must be 1 or above, got 0"),
        ({"classes": 1}, "classes must be 2 or above, got 1"),
        ({"growth": 0}, "growth must be 1 or above, got 0"),
        ({"layers": (1, 0)}, "layers must hold at least one stage"),
        ({"std": -1.0}, "std must be above 0, got -1"),
    ],
)
def test_wrong_arguments(options, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        DenseNetwork(**options)
