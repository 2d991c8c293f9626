"""The fingerprint of an object tells it from every other, and from no equal one."""

import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import torch
from torch import nn

from medadv.detectors.detector import described
from medadv.detectors.fingerprint import fingerprint


class Holding:
    layers, threshold, unit = ("0",), 1.0, 0.5

    def __init__(self, **held):
        self.__dict__.update(held)


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held


class Inherited(Slotted):
    __slots__ = ()


@dataclass(frozen=True)
class Value:
    mean: float
    scale: float


class Colour(Enum):
    RED = 1
    BLUE = 2


class Other(Holding):
    pass


class WithWeights(Holding):
    weights = torch.ones(2)


class WithOtherWeights(Holding):
    weights = torch.zeros(2)


WithOtherWeights.__qualname__ = "WithWeights"


def network(seed=0, slope=0.1, buffer=0.0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(slope))
    net.register_buffer("centre", torch.tensor(buffer), persistent=False)
    return net


def scoring(factor):
    return lambda features: factor * features


def around(name):
    """An object that holds itself."""
    one = Holding(name=name)
    one.itself = [one]
    return one


def recursive(depth):
    def function(number):
        return depth if number == 0 else function(number - 1)

    return function


DIFFERENT = [
    lambda: Holding(),
    lambda: Other(),
    lambda: WithWeights(),
    lambda: WithOtherWeights(),
    lambda: Holding(mean=torch.zeros(2)),
    lambda: Holding(other=torch.zeros(2)),
    lambda: Holding(mean=torch.ones(2)),
    lambda: Holding(mean=torch.zeros(2, dtype=torch.float64)),
    lambda: Holding(mean=torch.zeros(2, 1)),
    lambda: Holding(mean=torch.zeros(0, 3)),
    lambda: Holding(mean=torch.tensor(0.0)),
    lambda: Holding(mean=torch.zeros(1, dtype=torch.bfloat16)),
    lambda: Holding(mean=nn.Parameter(torch.full((2,), 3.0))),
    lambda: Holding(mean=np.zeros(2, np.float32)),
    lambda: Holding(mean=np.array([1, "a", None], dtype=object)),
    lambda: Holding(mean=np.float64(0)),
    lambda: Holding(mean=0.0),
    lambda: Holding(mean=-0.0),
    lambda: Holding(mean=0),
    lambda: Holding(mean=False),
    lambda: Holding(mean=None),
    lambda: Holding(mean="0"),
    lambda: Holding(mean=b"0"),
    lambda: Holding(mean=[0.0, 1.0]),
    lambda: Holding(mean=(0.0, 1.0)),
    lambda: Holding(mean=[[0.0], 1.0]),
    lambda: Holding(mean={"a": 1, "b": [2]}),
    lambda: Holding(mean={"a": 2, "b": [1]}),
    lambda: Holding(mean={1: "a"}),
    lambda: Holding(mean={3, 4, 5}),
    lambda: Holding(mean=frozenset({3, 4})),
    lambda: Holding(mean=Value(1.0, 2.0)),
    lambda: Holding(mean=Value(2.0, 1.0)),
    lambda: Holding(mean=Slotted(1)),
    lambda: Holding(mean=Slotted(2)),
    lambda: Holding(mean=Inherited(2)),
    lambda: Holding(mean=Colour.RED),
    lambda: Holding(mean=Colour.BLUE),
    lambda: Holding(mean=Path("a")),
    lambda: Holding(mean=[Path("a[1]PosixPathb"), Path("c")]),
    lambda: Holding(mean=[Path("a"), Path("b[1]PosixPathc")]),
    lambda: Holding(mean=torch.float16),
    lambda: Holding(mean=torch.relu),
    lambda: Holding(mean=torch.tanh),
    lambda: Holding(mean=nn.Linear),
    lambda: Holding(mean=scoring(1.0)),
    lambda: Holding(mean=scoring(2.0)),
    lambda: Holding(mean=lambda features: features + 1),
    lambda: Holding(mean=lambda features: features - 1),
    lambda: Holding(mean=lambda features, shift=1: features - shift),
    lambda: Holding(mean=partial(max, 1)),
    lambda: Holding(mean=partial(max, 2)),
    lambda: Holding(mean=Slotted(1).__init__),
    lambda: Holding(net=network()),
    lambda: Holding(net=network(seed=1)),
    lambda: Holding(net=network(slope=0.2)),
    lambda: Holding(net=network(buffer=1.0)),
    lambda: around("a"),
    lambda: around("b"),
    lambda: Holding(mean=recursive(1)),
    lambda: Holding(mean=recursive(2)),
]


def test_different_objects_have_different_fingerprints():
    found = [fingerprint(make()) for make in DIFFERENT]
    twice = [number for number, each in enumerate(found) if found.index(each) != number]
    assert twice == []


def test_objects_made_anew_have_the_same():
    for number, make in enumerate(DIFFERENT):
        assert fingerprint(make()) == fingerprint(make()), number


def test_what_does_not_count():
    whole = torch.arange(6.0).reshape(2, 3)
    assert fingerprint(whole.T.contiguous().T) == fingerprint(whole)
    shared = torch.ones(2)
    assert fingerprint([shared, shared]) == fingerprint([shared, shared.clone()])
    one, other = Holding(a=1, b=2), Holding(b=2, a=1)
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(torch.ones(2, requires_grad=True)) == fingerprint(torch.ones(2))


def test_it_is_the_same_in_another_process():
    """Where texts have other hashes, and so sets another order."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_fingerprint as t\n"
        "print(*(t.fingerprint(make()) for make in t.DIFFERENT))\n"
        "print(t.fingerprint({'a', 'b', 'c', 'd'}))"
    )
    folder = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=folder.parents[1], capture_output=True, text=True, check=True
    )
    here = [fingerprint(make()) for make in DIFFERENT]
    assert run.stdout.split() == [*here, fingerprint({"a", "b", "c", "d"})]


@pytest.mark.parametrize(
    ("held", "where"),
    [
        (Lock(), r"Holding\.mean must be something that can be told from another, got lock"),
        ([1, torch.Generator()], r"Holding\.mean\[1\] must be something .* got Generator"),
        (torch.ones(2).to_sparse(), r"Holding\.mean must be a dense tensor"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(held, where):
    with pytest.raises(TypeError, match=f"detector must have a property sha256 of what it was fitted to: {where}"):
        described(Holding(mean=held))


def test_a_detector_that_names_its_own_hash_is_believed():
    assert described(Holding(mean=Lock(), sha256="abc"))["sha256"] == "abc"
    plain = Holding(mean=torch.ones(2))
    assert described(plain)["sha256"] == fingerprint(plain)
