import pytest
import torch

from medadv.attacks.search.adaptive_ascent import AdaptiveAscent


def same(parameters):
    return parameters


def published_checks(steps):
    """The numbers at which the authors' loop looks at the step size, as their code counts."""
    between, least, less = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    found, since = [], 0
    for number in range(1, steps):
        since += 1
        if since == between:
            found.append(number)
            between, since = max(between - less, least), 0
    return tuple(found)


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 20, 57, 100, 1000])
def test_checks_are_where_they_were_published(steps):
    assert AdaptiveAscent("sign", {}, steps).checks == published_checks(steps)


def walk(ascent, values, slopes=None):
    """Positions of one number that is moved along the given slopes and told the given values."""
    place = {"noise": torch.zeros(1, 1)}
    found = []
    for number, value in enumerate(values):
        slope = 1.0 if slopes is None else slopes[number]
        place = ascent.move(place, {"noise": torch.full((1, 1), slope)}, torch.tensor([value]), same)
        found.append(place["noise"].item())
    return found


def test_steps_have_inertia():
    # x1 = 1; then x + 0.75 (1) + 0.25 (x - x before).
    assert walk(AdaptiveAscent("sign", {"noise": 1.0}, 100), [0.0, 1.0, 2.0]) == [1.0, 2.0, 3.0]
    turned = walk(AdaptiveAscent("sign", {"noise": 1.0}, 100), [0.0, 1.0, 2.0], [1.0, -1.0, -1.0])
    assert turned == [1.0, 1.0 - 0.75 + 0.25, 0.5 - 0.75 + 0.25 * (0.5 - 1.0)]


def test_the_length_stays_while_the_value_rises():
    ascent = AdaptiveAscent("sign", {"noise": 1.0}, 100)
    places = walk(ascent, [float(number) for number in range(60)])
    assert places == [float(number + 1) for number in range(60)]


def test_three_rises_in_four_are_too_few():
    def last(rises):
        # 22 steps before the first check: `rises` of them up, the others down, and a new best value at the end.
        values = [0.0]
        for number in range(22):
            values.append(values[-1] + (1.0 if number < rises else -0.01))
        values[22] = 100.0
        return walk(AdaptiveAscent("sign", {"noise": 1.0}, 100), values)

    for rises in (10, 15):
        places = last(rises)
        assert abs(places[22] - places[21]) < 1
    places = last(22)
    assert places[22] - places[21] == 1.0


def test_a_halved_search_goes_on_from_its_best_point():
    values = [0.0, 1.0, 9.0, *[0.0] * 20]
    places = walk(AdaptiveAscent("sign", {"noise": 1.0}, 100), values)
    best = places[1]
    # Half a step from the best point, and a quarter of the way that it had come from the last one.
    assert places[22] == pytest.approx(best + 0.75 * 0.5 + 0.25 * (best - places[20]))


def test_standing_still_halves_only_where_the_length_was_left_alone_before():
    ascent = AdaptiveAscent("sign", {"noise": 1.0}, 100)
    scales = []
    for step in range(58):
        ascent.move({"noise": torch.zeros(1, 1)}, {"noise": torch.ones(1, 1)}, torch.tensor([5.0 + (step == 1)]), same)
        scales.append(ascent._rows["scale"].item())
    # Too few rises at every check.
    assert [scales[21], scales[22], scales[41], scales[57]] == [1.0, 0.5, 0.25, 0.125]


def test_every_new_place_is_projected():
    ascent = AdaptiveAscent("sign", {"noise": 2.0}, 10)
    place = {"noise": torch.zeros(3, 4)}
    seen = []

    def project(parameters):
        seen.append(parameters["noise"])
        return {"noise": parameters["noise"].clamp(-1, 1)}

    for step in range(5):
        gradient = torch.randn(3, 4, generator=torch.Generator().manual_seed(step))
        place = ascent.move(place, {"noise": gradient}, torch.full((3,), float(step)), project)
        assert float(place["noise"].abs().max()) <= 1
    assert len(seen) == 1 + 2 * 4


def test_rows_that_leave_take_their_memory_along():
    generator = torch.Generator().manual_seed(0)
    gradients, values = torch.randn(30, 3, 6, generator=generator), torch.randn(30, 3, generator=generator)
    kept = torch.tensor([True, False, True])
    together, alone = (AdaptiveAscent("l2", {"noise": 0.1}, 30) for _ in range(2))
    whole, part = {"noise": torch.zeros(3, 6)}, {"noise": torch.zeros(2, 6)}
    for step in range(30):
        part = alone.move(part, {"noise": gradients[step][kept]}, values[step][kept], same)
        if step < 12:
            whole = together.move(whole, {"noise": gradients[step]}, values[step], same)
            continue
        if step == 12:
            together.keep(kept)
            whole = {"noise": whole["noise"][kept]}
        whole = together.move(whole, {"noise": gradients[step][kept]}, values[step][kept], same)
        assert torch.equal(whole["noise"], part["noise"])
