"""How good the minimum-norm and black-box attacks are beside their peers, on the same images and the same network.

``python -m benchmarks.parity --peers DIR --name parity-minimum-norm [--images 64]``

DIR holds foolbox, eagerpy, torchattacks and adv-lib, as ``pip install --no-deps --target DIR`` puts them there; they
are never a dependency. The network is a small residual one, trained here on generated phantoms. Every image that an
attack returns is shown to the network again, and its distance is measured in float64, whatever the attack says of it.
Robust accuracy is at the median distance of the nearest images of a group, so that differences show.
"""

import argparse
import importlib.machinery
import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

from benchmarks.compare import ROOT, circumstances
from medadv.attacks import DDN, FAB, FMN, CarliniWagner, DeepFool, HopSkipJump, Square
from medadv.data import chest_phantoms
from medadv.models import ResidualNetwork, Victim
from medadv.models.training import fit

ORDERS = {"linf": math.inf, "l2": 2, "l1": 1}
SQUARE_EPS, SQUARE_L2_EPS, QUERIES = 0.02, 0.5, 500

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


class Counting(nn.Module):
    """Counts the images shown, and the images for which a gradient is taken."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.shown = self.differentiated = 0

    def forward(self, images: Tensor) -> Tensor:
        self.shown += len(images)
        logits = self.module(images)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.differentiated += len(gradient)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare attacks with peers.")
    parser.add_argument("--peers", type=Path, help="where the peers are installed; without it, medadv alone")
    parser.add_argument("--images", type=int, default=64, help="how many images are attacked (default 64)")
    parser.add_argument("--only", default="", help="a word in the name of the group, such as fab")
    parser.add_argument("--name", help="write benchmarks/results/NAME.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = trained()
    data = chest_phantoms(2 * arguments.images, size=32, seed=1)
    images, targets = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    with torch.no_grad():
        right = network(images).argmax(1) == targets
    images, targets = images[right][: arguments.images], targets[right][: arguments.images]
    print(f"accuracy {float(right.double().mean()):.3f}, {len(images)} images", file=sys.stderr)
    rows = []
    for group, (norm, contenders) in groups(arguments.peers).items():
        if arguments.only in group:
            rows += compared(group, norm, contenders, network, images, targets)
    print(table(rows))
    if arguments.name:
        path = ROOT / "results" / f"{arguments.name}.json"
        path.write_text(json.dumps({**circumstances(threads=1), "rows": rows}, indent=1) + "\n")


def trained() -> nn.Module:
    """A small network for phantoms of 32 x 32."""
    torch.manual_seed(0)
    network = ResidualNetwork(width=8)
    fit(network, chest_phantoms(768, size=32, seed=0), epochs=12)
    return network


def compared(
    group: str, norm: str, contenders: dict[str, Attack], network: nn.Module, images: Tensor, targets: Tensor
) -> list[dict]:
    """One row per contender."""
    found = {}
    for name, attack in contenders.items():
        try:
            found[name] = attacked(attack, norm, network, images, targets)
        except Exception as error:  # a peer that cannot run is a finding, too
            print(f"{group}: {name} stopped: {type(error).__name__}: {error}", file=sys.stderr)
    distances = {name: row.pop("distances") for name, row in found.items()}
    nearest = torch.stack(list(distances.values())).amin(0)
    by_all = torch.stack(list(distances.values())).isfinite().all(0)
    eps = float(nearest.median())
    rows = []
    for name, row in found.items():
        mean = float(distances[name][by_all].mean()) if bool(by_all.any()) else math.nan
        robust = float((distances[name] > eps * (1 + 1e-3)).double().mean())
        rows.append({"group": group, "norm": norm, "contender": name, **row, "mean_distance": mean})
        rows[-1] |= {"eps": eps, "robust_accuracy": robust}
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def attacked(attack: Attack, norm: str, network: nn.Module, images: Tensor, targets: Tensor) -> dict:
    """What an attack returns, measured by us; the distance of an image that is still right is infinite."""
    counting = Counting(network).eval()
    start = time.process_time()
    changed = attack(counting, images.clone(), targets.clone()).detach().float()
    seconds = time.process_time() - start
    with torch.no_grad():
        wrong = network(changed).argmax(1) != targets
    inside = bool(((changed >= 0) & (changed <= 1)).all())
    change = (changed.double() - images.double()).flatten(1)
    distances = torch.where(wrong, torch.linalg.vector_norm(change, ORDERS[norm], dim=1), torch.inf)
    return {
        "success": float(wrong.double().mean()),
        "inside_bounds": inside,
        "forwards": counting.shown / len(images),
        "backwards": counting.differentiated / len(images),
        "seconds": seconds,
        "distances": distances,
    }


def groups(peers: Path | None) -> dict[str, tuple[str, dict[str, Attack]]]:
    """Per group its norm and contenders; equal steps within a group."""
    found: dict[str, tuple[str, dict[str, Attack]]] = {
        "deepfool l2": ("l2", {"medadv": ours(DeepFool("l2"))}),
        "deepfool linf": ("linf", {"medadv": ours(DeepFool("linf"))}),
        "fab linf": ("linf", {"medadv": ours(FAB("linf", steps=100))}),
        "fab l2": ("l2", {"medadv": ours(FAB("l2", steps=100))}),
        "fab l1": ("l1", {"medadv": ours(FAB("l1", steps=100))}),
        "ddn l2": ("l2", {"medadv": ours(DDN(steps=100))}),
        "fmn linf": ("linf", {"medadv": ours(FMN("linf", steps=100))}),
        "fmn l2": ("l2", {"medadv": ours(FMN("l2", steps=100))}),
        "fmn l1": ("l1", {"medadv": ours(FMN("l1", steps=100))}),
        "carlini-wagner l2": ("l2", {"medadv": ours(CarliniWagner(weight=1.0, searches=5, steps=100))}),
        "square linf": ("linf", {"medadv": ours(Square(SQUARE_EPS, queries=QUERIES))}),
        "square l2": ("l2", {"medadv": ours(Square(SQUARE_L2_EPS, "l2", queries=QUERIES))}),
        "hop-skip-jump l2": ("l2", {"medadv": ours(HopSkipJump("l2", steps=10))}),
    }
    if peers is not None:
        for group, contenders in peers_of(peers).items():
            found[group][1].update(contenders)
    return found


def ours(attack: Callable[..., object]) -> Attack:
    return lambda network, images, targets: attack(Victim(network), images, targets).images


def peers_of(folder: Path) -> dict[str, dict[str, Attack]]:
    """The peers' attacks with the steps of ours."""
    import_peers(folder)
    import adv_lib.attacks as al
    import foolbox as fb
    import torchattacks as ta

    def adv_lib(function: Callable[..., Tensor], **options: object) -> Attack:
        return lambda network, x, y: function(network, x, y, **options)

    def foolbox(attack: object) -> Attack:
        return lambda network, x, y: attack(fb.PyTorchModel(network, bounds=(0, 1)), x, y, epsilons=None)[1]

    def torchattacks(kind: type, **options: object) -> Attack:
        return lambda network, x, y: kind(network, **options)(x, y)

    attacks = fb.attacks
    cw = {"binary_search_steps": 5, "initial_const": 1.0}
    start = fb.attacks.LinearSearchBlendedUniformNoiseAttack()
    return {
        "deepfool l2": {
            "adv-lib": adv_lib(al.df, steps=50),
            "foolbox": foolbox(attacks.L2DeepFoolAttack(steps=50)),
            "torchattacks": torchattacks(ta.DeepFool, steps=50),
        },
        "deepfool linf": {
            "adv-lib": adv_lib(al.df, steps=50, norm=math.inf),
            "foolbox": foolbox(attacks.LinfDeepFoolAttack(steps=50)),
        },
        **{
            f"fab {norm}": {
                "adv-lib": adv_lib(al.fab, norm=order, n_iter=100),
                "torchattacks": torchattacks(ta.FAB, norm=word, steps=100, n_classes=2, eps=100.0),
            }
            for norm, order, word in (("linf", math.inf, "Linf"), ("l2", 2, "L2"), ("l1", 1, "L1"))
        },
        "ddn l2": {
            "adv-lib": adv_lib(al.ddn, steps=100, levels=None),
            "foolbox": foolbox(attacks.DDNAttack(steps=100)),
        },
        "fmn linf": {
            "adv-lib": adv_lib(al.fmn, norm=math.inf, steps=100),
            "foolbox": foolbox(attacks.LInfFMNAttack(steps=100)),
        },
        "fmn l2": {
            "adv-lib": adv_lib(al.fmn, norm=2, steps=100),
            "foolbox": foolbox(attacks.L2FMNAttack(steps=100)),
        },
        "fmn l1": {
            "adv-lib": adv_lib(al.fmn, norm=1, steps=100),
            "foolbox": foolbox(attacks.L1FMNAttack(steps=100)),
        },
        "carlini-wagner l2": {
            "adv-lib": adv_lib(al.carlini_wagner_l2, max_iterations=100, **cw),
            "foolbox": foolbox(attacks.L2CarliniWagnerAttack(steps=100, **cw)),
        },
        "square linf": {"torchattacks": torchattacks(ta.Square, norm="Linf", eps=SQUARE_EPS, n_queries=QUERIES)},
        "square l2": {"torchattacks": torchattacks(ta.Square, norm="L2", eps=SQUARE_L2_EPS, n_queries=QUERIES)},
        "hop-skip-jump l2": {
            "foolbox": foolbox(attacks.HopSkipJumpAttack(start, steps=10, initial_gradient_eval_steps=100))
        },
    }


def import_peers(folder: Path) -> None:
    """Make the peers importable, with stand-ins for what they import and do not need here."""
    sys.path.append(str(folder))
    for name in ("visdom", "torchvision", "torchvision.transforms", "torchvision.models", "requests", "tqdm", "git"):
        if importlib.util.find_spec(name.split(".")[0]) is None:
            stand_in = MagicMock()
            stand_in.__spec__ = importlib.machinery.ModuleSpec(name, None)
            sys.modules[name] = stand_in


def table(rows: list[dict]) -> str:
    """Markdown: one line per contender."""
    lines = [
        "| group | contender | success | mean distance | robust accuracy | forwards | backwards | seconds |",
        "| --- " * 8 + "|",
    ]
    for row in rows:
        lines.append(
            f"| {row['group']} | {row['contender']} | {row['success']:.3f} | {row['mean_distance']:.4f} "
            f"| {row['robust_accuracy']:.3f} | {row['forwards']:.0f} | {row['backwards']:.0f} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
