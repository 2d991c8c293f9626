import torch

from medadv.attacks.minimum_norm.any_noise import AnyNoise


def test_any_image_and_the_identity_as_gradient():
    x = torch.tensor([[[[0.2, 0.9, 1.0, 0.0]]]])
    noise = torch.tensor([[[[0.1, 0.5, 0.1, -0.3]]]]).requires_grad_()
    changed = AnyNoise().apply(x, {"noise": noise}, (0.0, 1.0))
    assert torch.equal(changed, torch.tensor([[[[0.2 + 0.1, 1.0, 1.0, 0.0]]]]))
    slopes = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    (found,) = torch.autograd.grad((changed * slopes).sum(), noise)
    assert torch.equal(found, slopes)
    clean = x.clone().requires_grad_()
    (found,) = torch.autograd.grad((AnyNoise().apply(clean, {"noise": noise}, (0.0, 1.0)) * slopes).sum(), clean)
    assert torch.equal(found, slopes)


def test_scaled_is_of_the_same_kind():
    assert AnyNoise().scaled(0.5) == AnyNoise(0.5)
