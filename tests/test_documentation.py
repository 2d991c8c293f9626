"""The examples of the documentation run and print what they say."""

import doctest
from pathlib import Path

import pytest
import torch

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize("name", ["defences.md"])
def test_examples(name):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    outcome = doctest.testfile(str(DOCS / name), module_relative=False)
    torch.set_num_threads(threads)
    assert outcome.failed == 0
    assert outcome.attempted > 0
