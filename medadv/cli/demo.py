"""`medadv demo`: from nothing to a report, without data."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medadv._optional import require
from medadv.cli.attack_choice import parse_attacks
from medadv.cli.budgets import parse_budgets
from medadv.cli.errors import InputError, StoppedError, sentence
from medadv.cli.interrupt import stop_between_batches
from medadv.cli.memory import keep_memory
from medadv.cli.progress import ProgressDisplay
from medadv.cli.threads import share_the_cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from medadv.data import ImageSet
    from medadv.sweep.store import Store

click = require("click", extra="lab")

TRAINING_IMAGES = 1000
TEST_IMAGES = 200
EPOCHS = 15
SIZE = 64  # pixels
NETWORK = "medadv.cli.demo:phantom_network"
_ATTACKS = ("pgd", "bias-field")
# Shares of the whole time, measured on two cores.
_DRAWING, _TRAINING, _ATTACKING = 0.05, 0.40, 0.55


@click.command(short_help="From nothing to a report, on chest films that it draws.")
@click.option("--out", type=click.Path(path_type=Path), help="New folder for the results; default: demo, demo-2, ...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def demo(out: Path | None, as_json: bool) -> None:
    """Draw chest phantoms, train a small network, attack it, and write report.html.

    Needs no data, and about a minute on two cores.
    """
    folder = _free_folder() if out is None else out
    if os.path.lexists(folder):
        raise InputError(f"--out {folder}: exists already; name a new folder")
    from medadv.cli.summary import finish

    share_the_cores()
    keep_memory()
    with stop_between_batches() as check_stop, ProgressDisplay() as display:

        def tell(doing: str, share: float) -> None:
            display.update(doing, share)
            check_stop()

        try:
            store = _run(folder, tell)
        except KeyboardInterrupt:
            raise StoppedError(f"interrupted; what was done is in {folder}, if anything") from None
        except OSError as error:
            raise InputError(sentence(error)) from None
    finish(store, folder / "report.html", as_json)
    click.echo(_next_steps(folder), err=True)


def phantom_network() -> nn.Module:
    """The untrained network of the demo, in eval mode, for `medadv evaluate --model`."""
    from medadv.models import ResidualNetwork

    return ResidualNetwork().eval()


def _free_folder() -> Path:
    names = (Path("demo" if number == 1 else f"demo-{number}") for number in count(1))
    return next(name for name in names if not os.path.lexists(name))


def _run(folder: Path, tell: Callable[[str, float], None]) -> Store:
    from medadv.data import chest_phantoms

    tell("drawing phantoms", 0.0)
    films = chest_phantoms(TRAINING_IMAGES + TEST_IMAGES, size=SIZE)
    training, test = films.rows(slice(TRAINING_IMAGES)), films.rows(slice(TRAINING_IMAGES, None))
    tell("loading torch", _DRAWING / 2)
    network = _trained(training, tell)
    store = _attacked(network, test, folder, tell)
    _keep(network, test, folder)
    return store


def _trained(training: ImageSet, tell: Callable[[str, float], None]) -> nn.Module:
    import torch

    from medadv.models.training import fit

    torch.manual_seed(0)
    network = phantom_network()

    def epoch_done(epoch: int, loss: float) -> None:
        tell(f"training, loss {loss:.2f}", _DRAWING + _TRAINING * epoch / EPOCHS)

    tell("training", _DRAWING)
    fit(network, training, epochs=EPOCHS, progress=epoch_done)
    return network


def _attacked(network: nn.Module, test: ImageSet, folder: Path, tell: Callable[[str, float], None]) -> Store:
    from medadv.models import Victim
    from medadv.sweep.evaluate import evaluate
    from medadv.sweep.plan import Curve, Evaluation
    from medadv.sweep.progress import Progress

    choices = parse_attacks(_ATTACKS)
    budgets = parse_budgets(choices, [])
    curves = tuple(Curve(choice.build({}), budgets[choice.label]) for choice in choices)
    evaluation = Evaluation(Victim(network), NETWORK, test, "chest phantoms", curves)

    def progress(now: Progress) -> None:
        tell(now.doing, _DRAWING + _TRAINING + _ATTACKING * now.done / now.total)

    return evaluate(evaluation, folder, progress=progress)


def _keep(network: nn.Module, test: ImageSet, folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(network.state_dict(), folder / "weights.safetensors")
    np.savez(folder / "phantoms.npz", test_images=test.images[:, 0], test_labels=test.labels)


def _next_steps(folder: Path) -> str:
    return (
        f"The same by hand: medadv evaluate --model {NETWORK} --weights {folder}/weights.safetensors "
        f"--data {folder}/phantoms.npz {' '.join(f'--attack {name}' for name in _ATTACKS)} --out by-hand"
    )
