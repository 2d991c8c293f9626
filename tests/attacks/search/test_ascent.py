import pytest
import torch

from medadv.attacks.search.ascent import Ascent


def moved(rule, gradient, momentum=0.0, length=0.5):
    start = {"noise": torch.zeros_like(gradient)}
    return Ascent(rule, {"noise": length}, momentum).move(start, {"noise": gradient})["noise"]


def gradients(scale=1.0):
    return torch.randn(4, 2, 3, 5, generator=torch.Generator().manual_seed(0)) * scale


def test_sign_steps():
    assert torch.equal(moved("sign", gradients()), 0.5 * gradients().sign())


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e20])
def test_l2_steps_have_the_length_and_direction_whatever_the_size_of_the_gradient(scale):
    step = moved("l2", gradients(scale))
    torch.testing.assert_close(step.flatten(1).norm(dim=1), torch.full((4,), 0.5))
    torch.testing.assert_close(step, 0.5 * torch.nn.functional.normalize(gradients().flatten(1)).reshape(4, 2, 3, 5))


def test_l2_steps_do_not_depend_on_the_other_rows():
    whole = moved("l2", gradients())
    for row in range(4):
        assert torch.equal(moved("l2", gradients()[row : row + 1]), whole[row : row + 1])


def test_adam_is_torch_adam_on_scaled_gradients():
    generator = torch.Generator().manual_seed(0)
    ours = {"noise": torch.zeros(3, 7)}
    theirs = torch.nn.Parameter(torch.zeros(3, 7))
    optimiser = torch.optim.Adam([theirs], lr=0.1, maximize=True)
    ascent = Ascent("adam", {"noise": 0.1}, 0.0)
    for _ in range(6):
        gradient = torch.randn(3, 7, generator=generator)
        ours = ascent.move(ours, {"noise": gradient})
        theirs.grad = gradient / gradient.abs().amax(1, keepdim=True)
        optimiser.step()
    torch.testing.assert_close(ours["noise"], theirs.detach())


@pytest.mark.parametrize("scale", [1e-30, 1.0])
def test_adam_does_not_depend_on_the_size_of_the_gradient(scale):
    torch.testing.assert_close(moved("adam", gradients(scale)), moved("adam", gradients()))


@pytest.mark.parametrize("rule", ["sign", "l2", "adam"])
def test_a_zero_gradient_makes_no_step(rule):
    gradient = gradients()
    gradient[2] = 0
    step = moved(rule, gradient)
    assert torch.equal(step[2], torch.zeros_like(step[2]))
    assert bool(torch.isfinite(step).all())
    assert float(step[[0, 1, 3]].abs().amax(dim=(1, 2, 3)).min()) > 0


@pytest.mark.parametrize("rule", ["sign", "l2"])
def test_momentum_sums_gradients_of_unit_l1_norm(rule):
    first, second = torch.tensor([[4.0, -1.0, 0.0]]), torch.tensor([[-0.02, 0.01, 0.01]])
    ascent = Ascent(rule, {"noise": 1.0}, 0.5)
    start = {"noise": torch.zeros(1, 3)}
    ascent.move(start, {"noise": first})
    step = ascent.move(start, {"noise": second})["noise"]
    total = 0.5 * torch.tensor([[0.8, -0.2, 0.0]]) + torch.tensor([[-0.5, 0.25, 0.25]])
    torch.testing.assert_close(step, total.sign() if rule == "sign" else total / total.norm())


@pytest.mark.parametrize(("rule", "momentum"), [("sign", 0.9), ("l2", 0.9), ("adam", 0.0)])
def test_rows_that_leave_take_their_memory_along(rule, momentum):
    generator = torch.Generator().manual_seed(0)
    series = torch.randn(4, 3, 6, generator=generator)
    together, alone = (Ascent(rule, {"noise": 0.1}, momentum) for _ in range(2))
    kept = torch.tensor([True, False, True])
    start = {"noise": torch.zeros(3, 6)}
    for gradient in series[:2]:
        together.move(start, {"noise": gradient})
        alone.move({"noise": start["noise"][kept]}, {"noise": gradient[kept]})
    together.keep(kept)
    rest = {"noise": start["noise"][kept]}
    for gradient in series[2:]:
        expected = alone.move(rest, {"noise": gradient[kept]})["noise"]
        assert torch.equal(together.move(rest, {"noise": gradient[kept]})["noise"], expected)


def test_each_tensor_has_its_own_length():
    ascent = Ascent("sign", {"noise": 0.5, "lattice": 0.01}, 0.0)
    start = {"noise": torch.zeros(1, 2), "lattice": torch.zeros(1, 3)}
    step = ascent.move(start, {"noise": torch.ones(1, 2), "lattice": -torch.ones(1, 3)})
    assert step["noise"].tolist() == [[0.5, 0.5]]
    torch.testing.assert_close(step["lattice"], torch.full((1, 3), -0.01))


@pytest.mark.parametrize("rule", ["sign", "l2", "l1"])
def test_looking_ahead_along_entries_of_one_size_is_a_step(rule):
    gradient = {"noise": torch.full((2, 1, 4, 5), 0.01)}
    ascent = Ascent(rule, {"noise": 0.5}, 1.0)
    start = {"noise": torch.zeros(2, 1, 4, 5)}
    assert torch.equal(ascent.ahead(start)["noise"], start["noise"])
    ascent.move(start, gradient)
    ahead = ascent.ahead(start)["noise"].flatten(1)
    length = {"sign": ahead.abs().amax(1), "l2": ahead.norm(dim=1), "l1": ahead.abs().sum(1)}[rule]
    torch.testing.assert_close(length, torch.full((2,), 0.5))


def test_l1_steps_go_along_the_largest_entries():
    gradient = torch.zeros(2, 300)
    gradient[0, :5] = torch.tensor([3.0, -4.0, 2.0, 5.0, 1.0])
    gradient[1, 7] = -0.1
    step = moved("l1", gradient, length=0.6)
    # One per cent of 300 entries are three; where fewer are not zero, they share the step.
    torch.testing.assert_close(step[0, :5], torch.tensor([0.2, -0.2, 0.0, 0.2, 0.0]))
    assert step[1].nonzero().flatten().tolist() == [7]
    assert step[1, 7].item() == pytest.approx(-0.6)
