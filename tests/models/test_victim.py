import math
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from medadv.attacks import PGD
from medadv.models import Binary, Multiclass, NoSuchClassError, Victim


class Fixed(nn.Module):
    """Returns the given outputs whatever it sees."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, images):
        if not isinstance(self.outputs, torch.Tensor) or self.outputs.ndim == 0:
            return self.outputs
        return self.outputs[: len(images)]


def linear(pixels=16, classes=3, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, classes)).to(dtype).eval()


def images(count=4, channels=1, size=(4, 4)):
    return torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(1))


def targets(count=4, classes=3):
    return torch.arange(count) % classes


def test_logits_are_those_of_the_module():
    net = linear()
    assert torch.equal(Victim(net)(images()), net(images()))


def test_a_module_may_lack_a_part():
    net = linear()
    net[1].register_module("norm", None)
    Victim(net).check(images(), targets())


def test_normalises_in_image_units_per_channel():
    net = linear(pixels=12)
    x = -1000 + 3000 * images(channels=3, size=(2, 2))
    victim = Victim(net, bounds=(-1024, 3071), mean=(0.0, 100.0, -50.0), std=(500.0, 400.0, 300.0))
    mean = torch.tensor([0.0, 100.0, -50.0])[:, None, None]
    std = torch.tensor([500.0, 400.0, 300.0])[:, None, None]
    torch.testing.assert_close(victim(x), net((x - mean) / std))
    one = Victim(net, bounds=(-1024, 3071), mean=40.0, std=400.0)
    torch.testing.assert_close(one(x), net((x - 40) / 400))


def test_normalises_volumes():
    net = linear(pixels=16)
    x = images(channels=2, size=(2, 2, 2))
    victim = Victim(net, mean=(0.1, 0.2), std=(0.3, 0.4))
    expected = (x - torch.tensor([0.1, 0.2]).reshape(2, 1, 1, 1)) / torch.tensor([0.3, 0.4]).reshape(2, 1, 1, 1)
    torch.testing.assert_close(victim(x), net(expected))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_casts_inside_and_returns_float32_with_a_gradient(dtype):
    net = linear(dtype=dtype)
    x = images().requires_grad_()
    logits = Victim(net)(x)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, net(x.to(dtype)).float())
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    assert gradient.dtype == torch.float32
    assert float(gradient.abs().max()) > 0


def test_one_logit_becomes_two():
    z = torch.tensor([[2.0], [-3.0], [0.5], [-0.1]])
    for outputs in (z, z.squeeze(1)):
        victim = Victim(Fixed(outputs).eval(), task="binary")
        logits = victim(images())
        assert torch.equal(logits, torch.cat([torch.zeros(4, 1), z], 1))
        assert torch.equal(victim.correct(logits, torch.tensor([1, 0, 0, 1])), torch.tensor([True, True, False, False]))
        victim.check(images(), torch.tensor([1, 0, 0, 1]))
        assert victim.num_classes == 2


def test_two_logits_of_a_binary_model_stay():
    net = linear(classes=2)
    assert torch.equal(Victim(net, task="binary")(images()), net(images()))


def test_correct_is_the_arg_max():
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, 3.0, 2.0]])
    assert torch.equal(Victim(linear()).correct(logits, torch.tensor([1, 2])), torch.tensor([True, False]))


def test_an_in_place_module_does_not_reach_the_images():
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3)).eval()
    x = images() * 2 - 1
    before = x.clone()
    victim = Victim(net, bounds=(-1, 1))
    victim.check(x, targets())
    victim(x)
    assert torch.equal(x, before)


def test_check_accepts_and_counts_classes():
    victim = Victim(linear())
    assert victim.num_classes is None
    victim.check(images(), targets())
    assert victim.num_classes == 3
    assert torch.equal(victim.clean_logits(images(), targets()), victim(images()).detach())


@pytest.mark.filterwarnings("error")
def test_images_with_a_graph_are_checked_without_a_word():
    Victim(linear()).check(images().requires_grad_(), targets())


def test_check_leaves_the_model_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)).eval()
    net[0].weight.requires_grad_(False)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    Victim(net).check(images(), targets())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True, True, True]
    assert all(p.grad is None for p in net.parameters())
    assert not any(part.training or part._forward_hooks or part._forward_pre_hooks for part in net.modules())


def poisoned(value):
    x = images()
    x[2, 0, 1, 1] = value
    return x


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (images().numpy(), TypeError, "images must be a torch.Tensor, got ndarray"),
        (images().double(), TypeError, "images must be float32, got torch.float64"),
        (images().half(), TypeError, "images must be float32, got torch.float16"),
        ((images() * 255).to(torch.uint8), TypeError, "images must be float32, got torch.uint8"),
        (images()[0], ValueError, "images must have 4 or 5 axes"),
        (images()[:0], ValueError, "images must not be empty"),
        (poisoned(math.nan), ValueError, "images must be finite"),
        (poisoned(math.inf), ValueError, "images must be finite"),
        (images() * 255, ValueError, r"images must lie inside the bounds \[0, 1\], got values from"),
        (poisoned(-0.001), ValueError, "images must lie inside the bounds"),
        (images(size=(5, 5)), ValueError, r"the model cannot read images of shape \[4, 1, 5, 5\]"),
    ],
)
def test_wrong_images(x, error, words):
    with pytest.raises(error, match=words):
        Victim(linear()).check(x, targets())


@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        ([0, 1, 2, 0], TypeError, "targets must be a torch.Tensor, got list"),
        (targets().int(), TypeError, "targets must be int64 class numbers, got torch.int32"),
        (targets().float(), TypeError, "targets must be int64"),
        (targets(3), ValueError, r"targets must have shape \[4\]"),
        (targets()[:, None], ValueError, r"targets must have shape \[4\]"),
        (torch.tensor([0, 1, 2, 3]), ValueError, r"targets must lie in 0 to 2 \(3 classes\), got 3"),
        (torch.tensor([0, 1, -1, 2]), ValueError, "targets must lie in 0 to 2 .*, got -1"),
    ],
)
def test_wrong_targets(y, error, words):
    with pytest.raises(error, match=words):
        Victim(linear()).check(images(), y)


def test_a_label_without_a_class_is_found():
    with pytest.raises(NoSuchClassError) as refused:
        Victim(linear()).check(images(), torch.tensor([0, 5, 1, 5]))
    told = pickle.loads(pickle.dumps(refused.value))  # as another process hands it on
    assert (told.label, told.num_classes, told.row) == (5, 3, 1)
    assert str(told) == "targets must lie in 0 to 2 (3 classes), got 5."


LOGITS = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
SURE = torch.eye(3)[torch.arange(len(LOGITS)) % 3]  # probabilities of 0 and 1
NAN = LOGITS.index_fill(0, torch.tensor([11]), torch.nan)


@pytest.mark.parametrize(
    ("outputs", "task", "error", "words"),
    [
        (LOGITS.softmax(1), "multiclass", ValueError, "must return logits, .* remove the final softmax"),
        (LOGITS.softmax(1).bfloat16(), "multiclass", ValueError, "remove the final softmax"),
        (LOGITS[:, :2].softmax(1), "binary", ValueError, "remove the final softmax"),
        (SURE, "multiclass", ValueError, "remove the final softmax"),
        (LOGITS[:, :1].sigmoid(), "binary", ValueError, "remove the final sigmoid"),
        (LOGITS[:, 0].sigmoid(), "binary", ValueError, "remove the final sigmoid"),
        (LOGITS[:, :1], "multiclass", ValueError, 'at least 2 logits, got 1: say task="binary"'),
        (LOGITS, "binary", ValueError, "one or two logits per image"),
        (LOGITS[:, :, None], "multiclass", ValueError, r"must return logits \[20, classes\], got shape \[20, 3, 1\]"),
        (LOGITS[:7], "multiclass", ValueError, r"must return logits \[20, classes\], got shape \[7, 3\]"),
        (LOGITS / 0, "multiclass", ValueError, "must return finite logits"),
        (NAN, "multiclass", ValueError, "must return finite logits, got NaN or infinity"),
        (
            LOGITS.clamp_max(0.5).masked_fill(LOGITS > 1, torch.inf),
            "multiclass",
            ValueError,
            "must return finite logits",
        ),
        (NAN[:, :2], "binary", ValueError, "must return finite logits"),
        (-LOGITS[:, :1].abs() / 0, "binary", ValueError, "must return finite logits"),
        ((LOGITS, LOGITS), "multiclass", TypeError, "must return one tensor of logits, got tuple"),
        ({"out": LOGITS}, "multiclass", TypeError, "must return one tensor of logits, got dict"),
        (torch.tensor(1.0), "multiclass", ValueError, "got a single number"),
    ],
)
def test_wrong_outputs(outputs, task, error, words):
    with pytest.raises(error, match=words):
        Victim(Fixed(outputs).eval(), task=task).check(images(20), targets(20, 2))


def test_findings_that_are_not_finite():
    with pytest.raises(ValueError, match="must return finite logits"):
        Victim(Fixed(NAN).eval(), task="multilabel").check(images(20), torch.zeros(20, 3, dtype=torch.int64))


# Rows that sum to 1, of which only the first looks like probabilities.
SUMS = torch.cat([SURE[:1], torch.tensor([[1.5, -0.75, 0.25]]).expand(len(SURE) - 1, 3)])


@pytest.mark.parametrize("outputs", [LOGITS.log_softmax(1), LOGITS.abs(), LOGITS.softmax(1) - 0.5, SUMS])
def test_outputs_that_only_resemble_probabilities_pass(outputs):
    Victim(Fixed(outputs).eval()).check(images(20), targets(20))


@pytest.mark.parametrize("outputs", [LOGITS[:, :1].abs() + 0.5, -LOGITS[:, :1].abs()])
def test_single_logits_that_only_partly_lie_between_0_and_1_pass(outputs):
    Victim(Fixed(outputs).eval(), task="binary").check(images(20), targets(20, 2))


def test_a_few_single_logits_between_0_and_1_pass():
    Victim(Fixed(LOGITS[:15, :1].sigmoid()).eval(), task="binary").check(images(15), targets(15, 2))


def test_more_images_than_one_batch_are_all_looked_at():
    x = images(200)
    assert torch.equal(Victim(linear()).clean_logits(x, targets(200)), Victim(linear())(x).detach())


@pytest.mark.parametrize("where", [None, 1])
def test_a_model_in_training_mode(where):
    net = linear()
    (net if where is None else net[where]).train()
    with pytest.raises(ValueError, match=r"must be in eval\(\) mode"):
        Victim(net).check(images(), targets())
    assert (net if where is None else net[where]).training


def test_channels_that_do_not_fit_the_normalisation():
    with pytest.raises(ValueError, match="mean has 3 values, but the images have 1 channels"):
        Victim(linear(), mean=(0.1, 0.2, 0.3)).check(images(), targets())


def test_the_device_of_a_model_without_parameters_is_that_of_its_buffers():
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16, affine=False)).eval()
    Victim(net).check(images(), targets())
    with pytest.raises(ValueError, match="images must be on the device of the model, meta, got cpu"):
        Victim(net.to("meta")).check(images(), targets())


def test_another_device():
    with pytest.raises(ValueError, match="images must be on the device of the model, meta, got cpu"):
        Victim(linear().to("meta")).check(images(), targets())
    with pytest.raises(ValueError, match="targets must be on the device of the images, cpu, got meta"):
        Victim(linear()).check(images(), targets().to("meta"))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"task": "segmentation"}, ValueError, "task must be one of multiclass, binary"),
        ({"task": Binary}, TypeError, "task must be one of"),
        ({"task": None}, TypeError, "task must be one of"),
        ({"bounds": (1, 0)}, ValueError, "low < high"),
        ({"bounds": (0, 0)}, ValueError, "low < high"),
        ({"bounds": (0, math.inf)}, ValueError, "bounds must be finite"),
        ({"bounds": 1}, TypeError, "bounds must be a pair"),
        ({"bounds": (0, 1, 2)}, TypeError, "bounds must be a pair"),
        ({"mean": math.nan}, ValueError, "mean must be finite"),
        ({"mean": []}, TypeError, "mean must be a number or one number per channel"),
        ({"std": 0.0}, ValueError, "std must be above 0"),
        ({"std": (1.0, -1.0)}, ValueError, "std must be above 0"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        Victim(linear(), **arguments)


def test_wrong_module():
    with pytest.raises(TypeError, match=r"module must be a torch.nn.Module, got function"):
        Victim(linear)


def test_tasks_are_values():
    assert Multiclass() == Multiclass()
    assert Victim(linear(), task=Binary()).task == Binary()
    assert Victim(linear(), bounds=(-1024, 3071)).scale == 4095


def test_importing_models_imports_no_torch():
    code = "import sys, medadv.models; assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", code], check=True)


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "compiled",
    [
        torch.jit.script,
        lambda net: torch.jit.freeze(torch.jit.script(net)),
        lambda net: torch.jit.trace(net, torch.zeros(4, 1, 8, 8)),
        lambda net: torch.compile(net, backend="eager"),
        lambda net: nn.DataParallel(net).eval(),
    ],
    ids=["script", "frozen", "trace", "compile", "parallel"],
)
def test_compiled_modules_are_victims(compiled):
    net, images = small_network(), torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    targets = net(images).argmax(1)
    expected = PGD(0.1, steps=3)(Victim(net), images, targets)
    result = PGD(0.1, steps=3)(Victim(compiled(net)), images, targets)
    assert torch.equal(result.status, expected.status)
    torch.testing.assert_close(result.loss, expected.loss)


def test_the_number_type_is_that_of_the_first_floating_parameter_in_the_order_of_the_module():
    net = nn.Module()
    net.counts = nn.Parameter(torch.zeros(2, dtype=torch.int64), requires_grad=False)
    net.stem = nn.Sequential(nn.Conv2d(1, 2, 3)).bfloat16()
    net.head = nn.Linear(2, 2)
    assert Victim(net).dtype == torch.bfloat16
    assert Victim(nn.Flatten()).dtype == torch.float32
