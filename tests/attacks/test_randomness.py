import numpy as np
import pytest
import torch

from medadv.attacks import Draw


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_rows_do_not_depend_on_the_batch(kind):
    ids = torch.tensor([5, 0, 123456789012, 7, -1])
    whole = getattr(Draw(3, ids, 1), kind)((2, 3))
    for order in ([4, 3, 2, 1, 0], [2], [0, 4]):
        assert torch.equal(getattr(Draw(3, ids[order], 1), kind)((2, 3)), whole[order])


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_seed_id_restart_and_draw_all_matter(kind):
    def first(seed, example, restart):
        return getattr(Draw(seed, torch.tensor([example]), restart), kind)((8,))

    base = first(0, 0, 0)
    assert torch.equal(base, first(0, 0, 0))
    for other in (first(1, 0, 0), first(0, 1, 0), first(0, 0, 1)):
        assert not (base == other).any()
    draw = Draw(0, torch.tensor([0]), 0)
    getattr(draw, kind)((8,))
    assert not (base == getattr(draw, kind)((8,))).any()


def test_uniform_numbers_fill_their_range():
    numbers = Draw(0, torch.arange(50), 0).uniform((1000,))
    assert numbers.dtype == torch.float32
    assert -1 <= float(numbers.min()) < -0.999
    assert 0.999 < float(numbers.max()) < 1
    assert float(numbers.mean()) == pytest.approx(0, abs=0.01)
    assert float(numbers.var()) == pytest.approx(1 / 3, abs=0.01)


def test_normal_numbers_have_unit_variance():
    numbers = Draw(0, torch.arange(50), 0).normal((1000,))
    assert numbers.dtype == torch.float32
    assert float(numbers.mean()) == pytest.approx(0, abs=0.02)
    assert float(numbers.var()) == pytest.approx(1, abs=0.02)


def test_the_generator_is_philox_with_key_and_counter_as_documented():
    generator = np.random.Generator(np.random.Philox(key=[11, 4], counter=[0, 0, 0, 2]))
    expected = generator.random(6, dtype=np.float32) * 2 - 1
    assert Draw(11, torch.tensor([4]), 2).uniform((6,))[0].tolist() == expected.tolist()


def test_leaves_the_global_generators_alone():
    torch.manual_seed(0)
    np_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    Draw(0, torch.arange(3), 0).normal((5,))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == np_state).all()


def test_no_two_keys_are_the_same():
    ids = torch.tensor([-2, -1, 0, 1, 2**62, 2**62 + 1, 2**63 - 2, 2**63 - 1])
    numbers = [Draw(seed, ids, 0).uniform((4,)) for seed in (0, 1, 2**64 - 2, 2**64 - 1)]
    assert len(torch.cat(numbers).unique(dim=0)) == 32
