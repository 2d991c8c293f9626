import pytest
import torch
from torch import nn

from medadv.detectors import ClassGaussians, ClassMixtures
from medadv.models import Victim
from medadv.models.features import features_of
from medadv.objectives import CrossEntropy, HierarchicalFeatureConstraint, Margin, Situation, Stabilised, Targeted

LOGITS = torch.tensor([[2.0, 0.5, 1.0], [0.5, 1.0, 0.7]])
TARGETS = torch.tensor([0, 1])
LABELS = torch.tensor([[1, 0, 1], [0, 0, 1]])
# The most likely wrong class of each.
AIMS = torch.tensor([2, 2])


def gaussians(seed, dimensions):
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(30, dimensions, generator=draw) + torch.arange(30).unsqueeze(1) % 3
    return ClassGaussians.fit(features, torch.arange(30) % 3)


DENSITIES = (("a", gaussians(0, 4)), ("b", gaussians(1, 2)))


def features(seed=2):
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(2, size, generator=draw, dtype=torch.float64) for name, size in (("a", 4), ("b", 2))}


def situation(found, clean_logits=LOGITS):
    images = torch.zeros(2, 1, 2, 2)
    return Situation(images, images, None, clean_logits, 0, None, found)


def mean_squared_distance(found, aims):
    """By the covariances, not by their roots."""
    total = torch.zeros(2, dtype=torch.float64)
    for layer, each in DENSITIES:
        for row in range(2):
            offset = found[layer][row] - each.means[aims[row]]
            precision = each.whitening[aims[row]] @ each.whitening[aims[row]].T
            total[row] += offset @ precision @ offset / len(offset)
    return total.float()


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_is_the_formula(weight):
    objective = HierarchicalFeatureConstraint(DENSITIES, Margin(), weight)
    found = features()
    expected = Margin()(LOGITS, TARGETS) - weight * mean_squared_distance(found, AIMS)
    torch.testing.assert_close(objective.at(LOGITS, TARGETS, situation(found)), expected)
    assert torch.equal(objective(LOGITS, TARGETS), Margin()(LOGITS, TARGETS))


def test_goals_decide_where_features_are_led():
    objective = HierarchicalFeatureConstraint(DENSITIES, Targeted("least likely"))
    found = features()
    expected = Targeted("least likely")(LOGITS, TARGETS) - mean_squared_distance(found, torch.tensor([1, 0]))
    torch.testing.assert_close(objective.at(LOGITS, TARGETS, situation(found)), expected)
    assert objective.goals(LOGITS, TARGETS).tolist() == [1, 0]


def test_the_class_aimed_at_is_that_of_the_clean_image():
    objective = HierarchicalFeatureConstraint(DENSITIES)
    found = features()
    clean = torch.tensor([[2.0, 1.5, 1.0], [0.9, 1.0, 0.7]])
    expected = CrossEntropy()(LOGITS, TARGETS) - mean_squared_distance(found, torch.tensor([1, 0]))
    torch.testing.assert_close(objective.at(LOGITS, TARGETS, situation(found, clean)), expected)


def test_without_an_objective_the_gradient_leads_to_the_mean_of_the_class():
    objective = HierarchicalFeatureConstraint(DENSITIES, weight=0.5)
    found = {name: values.requires_grad_() for name, values in features().items()}
    value = objective.at(LOGITS, TARGETS, situation(found))
    for layer, each in DENSITIES:
        (gradient,) = torch.autograd.grad(value.sum(), found[layer], retain_graph=True)
        precision = each.whitening[2] @ each.whitening[2].T
        offset = found[layer].detach() - each.means[2]
        torch.testing.assert_close(gradient, -(offset @ precision) / offset.shape[1], rtol=1e-6, atol=1e-6)


def test_fit_takes_the_features_of_the_victim():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    victim, x = Victim(net, std=2.0), torch.rand(30, 1, 6, 6)
    labels = torch.arange(30) % 3
    objective = HierarchicalFeatureConstraint.fit(victim, ["0", "3"], x, labels, Margin(), weight=2, shrinkage=0.3)
    assert objective.layers == ("0", "3")
    for layer, each in objective.densities:
        assert each == ClassGaussians.fit(features_of(victim, x, (layer,))[layer], labels, 0.3)
    assert (objective.objective, objective.weight) == (Margin(), 2.0)
    same = HierarchicalFeatureConstraint.fit(victim, ["0", "3"], x, labels, Margin(), weight=2, shrinkage=0.3)
    assert objective == same
    assert hash(objective) == hash(same)
    assert repr(objective) == repr(same)


def test_layers_are_those_of_all_that_is_wrapped():
    inner = HierarchicalFeatureConstraint(DENSITIES[:1])
    both = HierarchicalFeatureConstraint(DENSITIES[1:], inner)
    assert both.layers == ("b", "a")
    assert Stabilised(both).layers == ("b", "a")
    found = features()
    torch.testing.assert_close(
        both.at(LOGITS, TARGETS, situation(found)),
        HierarchicalFeatureConstraint(DENSITIES).at(LOGITS, TARGETS, situation(found)),
    )


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: HierarchicalFeatureConstraint(()), ValueError, "densities must hold at least one layer"),
        (lambda: HierarchicalFeatureConstraint(DENSITIES, weight=-1), ValueError, "weight must be at least 0"),
        (
            lambda: HierarchicalFeatureConstraint(DENSITIES).at(
                LOGITS, TARGETS.unsqueeze(1).expand(2, 3), situation(features())
            ),
            ValueError,
            "needs one label per image",
        ),
        (
            lambda: HierarchicalFeatureConstraint(DENSITIES).at(
                LOGITS[:, :2], TARGETS, situation(features(), LOGITS[:, :2])
            ),
            ValueError,
            "densities must be of the victim's 2 classes, got 3",
        ),
    ],
)
def test_wrong_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_of_a_mixture_the_most_likely_component_counts():
    draw = torch.Generator().manual_seed(0)
    side = torch.arange(40) % 2
    features_of_class = torch.randn(40, 4, generator=draw) + 20 * side.unsqueeze(1)
    mixture = ClassMixtures.fit(features_of_class.repeat(3, 1), torch.arange(3).repeat_interleave(40), 2)
    objective = HierarchicalFeatureConstraint((("a", mixture),), Margin(), weight=0.5)
    near = {"a": torch.stack([torch.full((4,), 1.0), torch.full((4,), 19.0)]).double()}
    means = mixture.gaussians.means[mixture.owners == 2]
    far, close = torch.cdist(near["a"], means).amax(dim=1), torch.cdist(near["a"], means).amin(dim=1)
    assert (close < 5).all()
    assert (far > 30).all()
    expected = Margin()(LOGITS, TARGETS) - 0.5 * mixture.squared_distances(near["a"])[:, 2].float() / 4
    torch.testing.assert_close(objective.at(LOGITS, TARGETS, situation(near)), expected)
    one = ClassGaussians.fit(features_of_class.repeat(3, 1), torch.arange(3).repeat_interleave(40))
    assert (mixture.squared_distances(near["a"])[:, 2] != one.squared_distances(near["a"])[:, 2]).all()


def test_fit_makes_mixtures_where_asked():
    victim = Victim(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval())
    images = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 2
    plain = HierarchicalFeatureConstraint.fit(victim, ["0"], images, labels)
    mixed = HierarchicalFeatureConstraint.fit(victim, ["0"], images, labels, components=3, weight=2.0)
    assert isinstance(plain.densities[0][1], ClassGaussians)
    assert mixed.densities[0][1] == ClassMixtures.fit(features_of(victim, images, ["0"])["0"], labels, 3)
    assert mixed.weight == 2.0
