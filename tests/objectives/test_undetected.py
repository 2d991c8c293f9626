import torch

from medadv.objectives import CrossEntropy, Margin, Situation, Stabilised, Targeted, Undetected

# Classes 0 to 2 and the detector's excess.
LOGITS = torch.tensor(
    [[2.0, 0.0, -1.0, 0.7], [2.0, 0.0, -1.0, -0.7], [0.5, 1.0, 0.0, 0.3], [0.5, 1.0, 0.0, -0.4], [1.0, 1.0, 0.0, -0.4]]
)
TARGETS = torch.tensor([0, 0, 0, 0, 0])


def situation(clean_logits=LOGITS, asked=None):
    def ask(images):
        asked.append(images)
        return LOGITS + 1

    images = torch.zeros(len(LOGITS), 1, 2, 2)
    return Situation(images, images, None, clean_logits, 0, ask)


def test_is_above_zero_exactly_where_wrong_and_undetected():
    expected = torch.tensor([-2.0, -2.0, -0.3, 0.4, 0.0])
    assert torch.equal(Undetected()(LOGITS, TARGETS), expected)
    assert torch.equal(Undetected().at(LOGITS, TARGETS, situation()), expected)


def test_each_gradient_is_of_what_is_not_reached():
    logits = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Undetected(CrossEntropy())(logits, TARGETS).sum(), logits)
    fooled = torch.tensor([False, False, True, True, False])
    assert torch.equal(gradient[fooled], torch.tensor([0.0, 0, 0, -1]).expand(2, 4))
    right = LOGITS[~fooled][:, :3].softmax(1) - torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(gradient[~fooled], torch.cat([right, torch.zeros(3, 1)], 1))


def test_goals_are_those_of_the_classes():
    objective = Undetected(Targeted(1, Margin()))
    assert objective.goals(LOGITS, TARGETS).tolist() == [1] * 5
    assert Undetected(Targeted("least likely")).goals(LOGITS, TARGETS).tolist() == [2] * 5
    found = objective.at(LOGITS, TARGETS, situation())
    # The last image has equal logits: its answer is still class 0.
    torch.testing.assert_close(found, torch.tensor([-2.0, -2.0, -0.3, 0.4, 0.0]))
    other = Undetected(Targeted(2, Margin())).at(LOGITS, TARGETS, situation())
    torch.testing.assert_close(other, torch.tensor([-3.0, -3.0, -1.0, -1.0, -1.0]))
    assert Undetected().goals(LOGITS, TARGETS) is None


def test_several_labels():
    targets = torch.tensor([[1, 0, 0], [1, 1, 0]])
    logits = torch.tensor([[1.0, -2.0, -3.0, 5.0], [1.0, -2.0, -3.0, 5.0]])
    assert Undetected()(logits, targets).tolist() == [-1.0, -5.0]


def test_an_objective_inside_sees_the_classes_alone():
    asked = []
    inner = Stabilised(CrossEntropy())
    found = Undetected(inner).at(LOGITS, TARGETS, situation(asked=asked))
    classes = LOGITS[:, :3]
    plain = Situation(*[torch.zeros(5, 1, 2, 2)] * 2, None, classes, 0, lambda images: classes + 1)
    expected = inner.at(classes, TARGETS, plain)
    fooled = torch.tensor([False, False, True, True, False])
    torch.testing.assert_close(found[~fooled], expected[~fooled])
    assert len(asked) == 1


def test_is_a_value():
    assert Undetected() == Undetected(Margin())
    assert hash(Undetected()) == hash(Undetected(Margin()))
    assert repr(Undetected()) == "Undetected(objective=Margin())"
    assert Undetected().layers == ()
