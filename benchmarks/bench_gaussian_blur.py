"""gaussian_blur against separable depthwise convolutions, and against libraries; copying the image is the floor."""

import pytest
import torch

from benchmarks import peers, plain_torch
from medadv import ops

SIGMAS = [1.0, 3.0]


def contender_named(name, image, sigma):
    """What runs on an image."""
    if name == "medadv":
        return lambda image: ops.gaussian_blur(image, sigma)
    if name == "copy":
        out = torch.empty_like(image)
        return lambda image: out.copy_(image)
    if name in peers.PEERS:
        return peers.make(name, "gaussian_blur", image, sigma)
    kernels = plain_torch.gaussian_kernels(image, sigma)

    def eager(image):
        return plain_torch.gaussian_blur(image, kernels)

    return torch.compile(eager) if name == "compiled" else eager


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled", "copy", *peers.names("gaussian_blur")])
def test_forward(compete, case, contender, sigma):
    size, image, _, _ = case
    run = contender_named(contender, image, sigma)
    with torch.no_grad():
        compete(run, (image,), operation=f"gaussian_blur {sigma:g}", mode="forward", size=size, contender=contender)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled", *peers.names("gaussian_blur", gradients=True)])
def test_backward(compete_backward, case, contender, sigma):
    size, image, _, grad = case
    function = contender_named(contender, image, sigma)
    compete_backward(
        function,
        (image,),
        (image,),
        grad,
        operation=f"gaussian_blur {sigma:g}",
        mode="forward+backward",
        size=size,
        contender=contender,
    )
