import pytest
import torch
from torch import nn

from medadv.models import Victim
from medadv.models.features import features_of, tapped


def network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(48, 2))
    return net.eval()


def images(count=5):
    return torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def test_features_are_channel_means_of_what_the_part_returned():
    net, x = network(), images()
    logits, features = Victim(net).look(x, ("1", "4"))
    assert torch.equal(logits, net(x))
    # The next part works in place on what the second returned.
    torch.testing.assert_close(features["1"], net[:2](x).double().mean(dim=(2, 3)))
    torch.testing.assert_close(features["4"], net(x).double())
    assert features["1"].dtype == torch.float64


def test_gradients_flow_through_features():
    net, x = network(), images().requires_grad_()
    _, features = Victim(net).look(x, ("1",))
    (gradient,) = torch.autograd.grad(features["1"].sum(), x)
    (expected,) = torch.autograd.grad(net[:2](x).mean(dim=(2, 3)).sum(), x)
    torch.testing.assert_close(gradient, expected)


def test_no_hook_is_left_even_after_an_error():
    net = network()
    features_of(Victim(net), images(), ("0", "3"))
    with pytest.raises(RuntimeError), tapped(net, ["0"]):
        net(torch.zeros(1, 1, 9, 9))
    assert not any(part._forward_hooks for part in net.modules())


def test_many_images_are_those_of_each_batch():
    victim = Victim(network().double())
    whole = features_of(victim, images(9), ("1",))["1"]
    assert torch.equal(features_of(victim, images(9), ("1",), batch=2)["1"], whole)
    assert not whole.requires_grad


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.act, self.other, self.pair = nn.ReLU(), nn.ReLU(), Pair()

    def forward(self, x):
        return self.act(self.act(self.pair(x)[0].flatten(1)))


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        ("head", ValueError, "layers must name parts of the model, such as 'pair', got 'head'"),
        ("act", ValueError, "calls once, but it calls 'act' again"),
        ("other", ValueError, "it does not call 'other'"),
        ("pair", TypeError, "return a tensor .*, but 'pair' does not"),
    ],
)
def test_wrong_layers(layer, error, words):
    with pytest.raises(error, match=words):
        Victim(Twice().eval()).look(images(), (layer,))


def test_a_float64_part_before_one_that_works_in_place():
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.ReLU(inplace=True)).double().eval()
    _, features = Victim(net).look(images(), ("1",))
    assert torch.equal(features["1"], net[:2](images().double()))
    assert bool((features["1"] < 0).any())
