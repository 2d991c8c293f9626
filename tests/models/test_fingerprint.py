from __future__ import annotations

import copy
import hashlib
import struct

import pytest
import torch
from torch import nn

from medadv.models.fingerprint import model_sha256
from medadv.models.residual_network import ResidualNetwork


def test_it_is_the_hash_of_header_lines_and_bytes() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0]]))
        layer.bias.fill_(0.5)
    spelled = b'["bias", "torch.float32", [1]]\n' + struct.pack("<f", 0.5)
    spelled += b'["weight", "torch.float32", [1, 2]]\n' + struct.pack("<2f", 1.0, -2.0)
    assert model_sha256(layer) == hashlib.sha256(spelled).hexdigest()


def test_equal_weights_give_equal_hashes() -> None:
    model = ResidualNetwork()
    twin = copy.deepcopy(model)
    assert model_sha256(model) == model_sha256(twin)
    twin.eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
        parameter.data = parameter.data.to(memory_format=torch.preserve_format)
    assert model_sha256(model) == model_sha256(twin)


def test_strides_do_not_count() -> None:
    plain, strided = nn.Linear(3, 3), nn.Linear(3, 3)
    strided.load_state_dict(plain.state_dict())
    strided.weight.data = plain.weight.data.t().contiguous().t()
    assert not strided.weight.is_contiguous()
    assert model_sha256(plain) == model_sha256(strided)


@pytest.mark.parametrize("name", ["stem.weight", "head.4.bias", "stages.0.first.0.running_mean", "mean"])
def test_one_changed_value_changes_the_hash(name) -> None:
    model = ResidualNetwork()
    before = model_sha256(model)
    with torch.no_grad():
        model.state_dict()[name].view(-1)[0] += 1e-3
    assert model_sha256(model) != before


def test_dtype_shape_and_name_count() -> None:
    def holder(name: str, tensor: torch.Tensor) -> nn.Module:
        module = nn.Module()
        module.register_buffer(name, tensor)
        return module

    zeros = torch.zeros(4)
    variants = [holder("a", zeros), holder("b", zeros), holder("a", zeros.view(2, 2)), holder("a", zeros.int())]
    assert len({model_sha256(variant) for variant in variants}) == 4


def test_every_plain_dtype_scalars_and_empty_tensors() -> None:
    module = nn.Module()
    for index, dtype in enumerate((torch.bfloat16, torch.half, torch.double, torch.bool, torch.int64)):
        module.register_buffer(f"b{index}", torch.ones(3, dtype=dtype))
    module.register_buffer("scalar", torch.tensor(1.0))
    module.register_buffer("empty", torch.zeros(0, 2))
    assert len(model_sha256(module)) == 64


def test_sparse_and_foreign_entries_are_refused() -> None:
    module = nn.Module()
    module.register_buffer("sparse", torch.eye(2).to_sparse())
    with pytest.raises(TypeError, match="entry 'sparse' must be a dense tensor"):
        model_sha256(module)

    class Extra(nn.Module):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(TypeError, match="entry '_extra_state' must be a dense tensor, got dict"):
        model_sha256(Extra())
