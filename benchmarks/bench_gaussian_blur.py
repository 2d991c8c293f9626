"""gaussian_blur against separable depthwise convolutions; copying the image is the floor."""

import pytest
import torch

from benchmarks import plain_torch
from medadv import ops

SIGMAS = [1.0, 3.0]


def contenders(image, sigma):
    kernels = plain_torch.gaussian_kernels(image, sigma)

    def eager(image):
        return plain_torch.gaussian_blur(image, kernels)

    return {"medadv": lambda image: ops.gaussian_blur(image, sigma), "eager": eager, "compiled": torch.compile(eager)}


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled", "copy"])
def test_forward(compete, case, contender, sigma):
    size, image, _, _ = case
    out = torch.empty_like(image)
    run = {**contenders(image, sigma), "copy": lambda image: out.copy_(image)}[contender]
    with torch.no_grad():
        compete(
            lambda: run(image), operation=f"gaussian_blur {sigma:g}", mode="forward", size=size, contender=contender
        )


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("contender", ["medadv", "eager", "compiled"])
def test_backward(compete, case, contender, sigma):
    size, image, _, grad = case
    image.requires_grad_()
    function = contenders(image, sigma)[contender]

    def run():
        torch.autograd.grad(function(image), image, grad)

    compete(run, operation=f"gaussian_blur {sigma:g}", mode="forward+backward", size=size, contender=contender)
