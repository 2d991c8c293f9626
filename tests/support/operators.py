"""The battery that every operator passes, so that a new one gets all of it for a few lines."""

import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck


def leaves(tensors):
    return [t.detach().clone().requires_grad_() for t in tensors]


def check_gradients(function, tensors):
    """First and second derivatives of a float64 function, against finite differences."""
    inputs = leaves(tensors)
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


def check_registration(operator, args):
    """Schema, fake kernel, autograd and tracing of one torch.ops operator, with and without gradients."""
    opcheck(operator, args)
    opcheck(operator, tuple(a.detach().clone().requires_grad_() if isinstance(a, torch.Tensor) else a for a in args))


def check_layouts(function, tensors):
    """Any strides give the bits of contiguous inputs."""
    expected = function(*tensors)
    strided = [torch.stack([t, t.flip(0)], -1)[..., 0] for t in tensors]
    channels_last = [t.transpose(1, -1).contiguous().transpose(1, -1) for t in tensors]
    for inputs in (strided, channels_last):
        assert any(not t.is_contiguous() for t in inputs)
        assert torch.equal(function(*inputs), expected)


def check_compiles(function, tensors):
    """torch.compile takes the function without a graph break, values and gradients alike."""
    torch._dynamo.reset()
    compiled = torch.compile(lambda *xs: (function(*[x.sin() for x in xs]) ** 2).sum(), fullgraph=True)
    eager_inputs, compiled_inputs = leaves(tensors), leaves(tensors)
    expected = (function(*[x.sin() for x in eager_inputs]) ** 2).sum()
    value = compiled(*compiled_inputs)
    torch.testing.assert_close(value, expected)
    for got, want in zip(
        torch.autograd.grad(value, compiled_inputs), torch.autograd.grad(expected, eager_inputs), strict=True
    ):
        torch.testing.assert_close(got, want)


def check_batching(function, tensors):
    """vmap over any one argument, or all of them, equals a loop."""
    stacks = [torch.stack([t, 2 * t, t.flip(0)], 1) for t in tensors]
    choices = [tuple(1 if i == j else None for i in range(len(tensors))) for j in range(len(tensors))]
    for in_dims in [(1,) * len(tensors), *choices]:
        args = [stack if d is not None else t for stack, t, d in zip(stacks, tensors, in_dims, strict=True)]
        expected = [
            function(*[a[:, i] if d is not None else a for a, d in zip(args, in_dims, strict=True)]) for i in range(3)
        ]
        torch.testing.assert_close(torch.vmap(function, in_dims=in_dims)(*args), torch.stack(expected))


def bits_for_threads(run, counts=(1, 2)):
    """The results of run() for several numbers of threads."""
    before = torch.get_num_threads()
    results = []
    try:
        for count in counts:
            torch.set_num_threads(count)
            results.append(run())
    finally:
        torch.set_num_threads(before)
    return results
