"""Fixtures that every test may use."""

import pytest
import torch


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
        ),
    ]
)
def device(request):
    """Every device that the operators run on; the GPU is skipped, visibly, where there is none."""
    return request.param
