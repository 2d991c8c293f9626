import pytest
import torch

from medadv.attacks import Diversity, Draw
from medadv.attacks.search.diversity import moved

BOUNDS = [(0.0, 1.0), (-1024.0, 3071.0)]


class Given:
    """Numbers that were agreed on instead of drawn: 0 to 1, scaled to what `Draw.uniform` gives."""

    def __init__(self, *numbers):
        self.numbers = torch.tensor([numbers]) * 2 - 1

    def uniform(self, shape):
        assert self.numbers.shape[1:] == shape
        return self.numbers


def images(bounds, shape=(3, 2, 9, 12), seed=0):
    low, high = bounds
    return low + (high - low) * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("shape", [(40, 2, 9, 12), (40, 1, 5, 9, 12)])
def test_changes_about_half_of_the_images_and_keeps_the_bounds(bounds, shape):
    x = images(bounds, shape)
    found = moved(x, Diversity().motion(x, Draw(0, torch.arange(40), 0)), bounds)
    same = (found == x).flatten(1).all(1)
    assert 10 <= int(same.sum()) <= 30
    assert float(found.min()) >= bounds[0]
    assert float(found.max()) <= bounds[1]


@pytest.mark.parametrize(("probability", "changed"), [(0.0, 0), (1.0, 20)])
def test_never_and_always(probability, changed):
    x = images((0.0, 1.0), (20, 1, 8, 8))
    found = moved(x, Diversity(probability).motion(x, Draw(0, torch.arange(20), 0)), (0.0, 1.0))
    assert int((found != x).flatten(1).any(1).sum()) == changed


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize(("place", "corner"), [((0.0, 0.0), (0, 0)), ((1.0, 0.0), (4, 0)), ((1.0, 1.0), (4, 4))])
def test_half_the_size_in_a_corner(bounds, place, corner):
    # Nine voxels become five: every second one is kept.
    x = images(bounds, (1, 1, 9, 9))
    motion = Diversity(1.0, smallest=0.5).motion(x, Given(0.0, 0.0, *place))
    expected = torch.full((9, 9), bounds[0])
    top, left = corner
    expected[top : top + 5, left : left + 5] = x[0, 0, ::2, ::2]
    torch.testing.assert_close(moved(x, motion, bounds)[0, 0], expected, rtol=0, atol=(bounds[1] - bounds[0]) * 1e-6)


def test_the_gradient_is_that_of_the_change():
    x = images((0.0, 1.0), (2, 1, 6, 7)).double().requires_grad_()
    motion = Diversity(1.0, smallest=0.7).motion(x.detach().float(), Draw(0, torch.arange(2), 0))
    motion = (motion[0].double(), motion[1])
    # No clipping within these bounds, so that the map is linear.
    assert torch.autograd.gradcheck(lambda values: moved(values, motion, (0.0, 2.0)), x)


def test_rows_do_not_depend_on_the_batch():
    x = images((0.0, 1.0), (8, 1, 9, 12))
    ids = torch.arange(8) + 5
    whole = moved(x, Diversity().motion(x, Draw(3, ids, 1)), (0.0, 1.0))
    for rows in (torch.tensor([4]), torch.tensor([7, 0, 2])):
        part = moved(x[rows], Diversity().motion(x[rows], Draw(3, ids[rows], 1)), (0.0, 1.0))
        assert torch.equal(part, whole[rows])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"probability": 1.1}, "probability must be at most 1"),
        ({"probability": -0.1}, "probability must be at least 0"),
        ({"smallest": 1.0}, "smallest must be below 1"),
        ({"smallest": 0.0}, "smallest must be above 0"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        Diversity(**arguments)
