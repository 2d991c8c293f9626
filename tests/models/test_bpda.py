import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medadv.models import BPDA, RandomisedVictim, Victim


def levels(images, count=8):
    return (images * count).round() / count


def through_numpy(images):
    return torch.from_numpy(levels(images).numpy())


def in_place(images):
    return images.mul_(8).round_().div_(8)


def test_forward_is_exact_and_backward_is_the_identity():
    x = torch.rand(3, 1, 5, 4, requires_grad=True)
    weight = torch.randn(3, 1, 5, 4)
    for function in (levels, through_numpy, in_place):
        before = x.detach().clone()
        found = BPDA(function)(x)
        assert torch.equal(found, levels(before))
        assert torch.equal(x, before)
        (gradient,) = torch.autograd.grad((weight * found).sum(), x)
        assert torch.equal(gradient, weight)


def test_backward_is_that_of_the_stand_in_where_the_image_is():
    x = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    layer = BPDA(levels, torch.sin)
    found = layer(x)
    assert torch.equal(found, levels(x.detach()))
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    torch.testing.assert_close(gradient, 2 * levels(x.detach()) * x.detach().cos())


def test_the_model_behind_is_differentiated_at_what_it_sees():
    x = torch.rand(2, 4, dtype=torch.float64, requires_grad=True)
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    (gradient,) = torch.autograd.grad(net(BPDA(levels)(x)).sum(), x)
    rounded = levels(x.detach()).requires_grad_()
    (expected,) = torch.autograd.grad(net(rounded).sum(), rounded)
    assert torch.equal(gradient, expected)


def test_a_stand_in_may_change_the_shape():
    layer = BPDA(lambda images: levels(images)[..., ::2, ::2].contiguous(), lambda images: F.avg_pool2d(images, 2))
    x = torch.rand(1, 1, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    assert torch.equal(gradient, torch.full_like(gradient, 0.25))


def test_modules_inside_are_parts_of_the_model():
    pool = nn.MaxPool2d(3, 1, 1)
    layer = BPDA(pool)
    assert layer.function in list(layer.modules())
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(16, 2)).eval()
    pool.train()
    with pytest.raises(ValueError, match="its part '0.function' is in training mode"):
        Victim(net).check(torch.rand(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))


def test_half_precision_and_randomised_models():
    x = torch.rand(2, 1, 2, 2)
    net = nn.Sequential(BPDA(levels), nn.Flatten(), nn.Linear(4, 2)).bfloat16().eval()
    assert Victim(net)(x.requires_grad_()).requires_grad
    noisy = nn.Sequential(Noise(), BPDA(levels), nn.Flatten(), nn.Linear(4, 2)).eval()
    logits = RandomisedVictim(noisy, draws=3)(x)
    assert float(torch.autograd.grad(logits.sum(), x)[0].abs().max()) > 0


class Noise(nn.Module):
    def forward(self, images):
        return images + 0.1 * torch.randn_like(images)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: BPDA(3), TypeError, "function must be a function of a tensor, got 3"),
        (lambda: BPDA(nn.ReLU), TypeError, "function must be a function of a tensor"),
        (lambda: BPDA(torch.round, "identity"), TypeError, "stand_in must be a function of a tensor, got 'identity'"),
        (lambda: BPDA(lambda x: 3)(torch.zeros(1, 2)), TypeError, "function must return a tensor, got int"),
        (
            lambda: BPDA(lambda x: x[:, :1])(torch.zeros(1, 2)),
            ValueError,
            r"shape of its input, \[1, 2\], got \[1, 1\]",
        ),
        (
            lambda: BPDA(torch.round, lambda x: x[:, :1])(torch.zeros(1, 2)),
            ValueError,
            r"shape of what stand_in returns, \[1, 1\], got \[1, 2\]",
        ),
    ],
)
def test_wrong_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()
