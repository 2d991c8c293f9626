"""Results of 4 MB and more ask the system for large pages, which cost a fraction of what small ones do."""

from pathlib import Path

import pytest
import torch

from medadv.ops import bias_field, jacobian_determinant, membrane_energy, warp

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
pytestmark = pytest.mark.skipif(
    not SETTING.exists() or "[never]" in SETTING.read_text(), reason="the system has no large pages to give"
)


def page_flags(tensor):
    """VmFlags of the mapping that holds the middle of a tensor; "hg" says that large pages were asked for."""
    middle = tensor.data_ptr() + tensor.nbytes // 2
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split(maxsplit=1)[0]
        if not first.endswith(":"):
            begin, end = (int(word, 16) for word in first.split("-"))
            inside = begin <= middle < end
        elif inside and first == "VmFlags:":
            return line.split()[1:]
    return []


def gradient_of_membrane_energy(x):
    field = x.clone().requires_grad_()
    return torch.autograd.grad(membrane_energy(field).sum(), field)[0]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: bias_field(x, torch.zeros(1, 1, 4, 4)),
        lambda x: jacobian_determinant(x.expand(1, 2, -1, -1)),
        lambda x: warp(x, torch.zeros(1, 2, *x.shape[2:])),
        gradient_of_membrane_energy,
    ],
    ids=["bias_field", "jacobian_determinant", "warp", "membrane_energy"],
)
def test_a_large_result_lies_in_large_pages(function):
    out = function(torch.ones(1, 1, 3000, 3001))
    assert "hg" in page_flags(out)


def test_what_a_large_result_holds():
    image = torch.rand(1, 1, 1500, 1501)
    assert torch.equal(bias_field(image, torch.zeros(1, 1, 4, 4)), image)
    assert torch.equal(warp(image, torch.zeros(1, 2, 1500, 1501)), image)
