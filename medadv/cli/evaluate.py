"""`medadv evaluate`: attack a model on images, and write a report."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medadv._optional import require
from medadv.cli.budgets import DEFAULT_BUDGETS, parse_budgets
from medadv.cli.errors import DamagedError, InputError, StoppedError, UntrustedError, sentence
from medadv.cli.interrupt import stop_between_batches
from medadv.cli.progress import ProgressDisplay
from medadv.cli.threads import share_the_cores
from medadv.data import ImageSet, read_images
from medadv.sweep.store import Store, StoreDamaged

if TYPE_CHECKING:
    from torch import nn

    from medadv.sweep.plan import Evaluation

click = require("click", extra="lab")


@dataclass(frozen=True)
class Options:
    """What `medadv evaluate` was asked for; see its --help."""

    model: str
    weights: Path | None
    data: Path
    size: tuple[int, int] | None
    channels: int | None
    window: tuple[float, float] | None
    split: str
    budgets: dict[str, tuple[float, ...]]
    out: Path
    steps: int | None
    restarts: int | None
    seed: int
    task: str
    limit: int | None
    batch_size: int
    device: str | None
    resume: bool


_WHOLE = click.IntRange(min=1)
_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--model", required=True, metavar="SOURCE", help="package.module:function or file.py:function.")
@click.option("--weights", type=_PATH, help="Weights: safetensors, or a plain .pt state dict.")
@click.option("--data", required=True, type=_PATH, help="Folder with one sub-folder per class, or a MedMNIST .npz.")
@click.option("--size", nargs=2, type=_WHOLE, metavar="H W", help="Resize the images to H x W pixels.")
@click.option("--channels", type=click.Choice(["1", "3"]), help="Convert the images to grey (1) or colour (3).")
@click.option("--window", nargs=2, type=float, metavar="C W", help="Window of DICOM files: centre and width.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", help="Part of an .npz file.")
@click.option("--attack", "attacks", multiple=True, required=True, help=f"{', '.join(DEFAULT_BUDGETS)}; repeatable.")
@click.option("--budget", "budgets", multiple=True, metavar="[ATTACK=]V,V,...", help="Such as pgd=1/255,2/255.")
@click.option("--out", required=True, type=_PATH, help="Folder for the results; must not exist yet.")
@click.option("--steps", type=_WHOLE, help="Gradient steps of each attack; default: its own, 20 for pgd.")
@click.option("--restarts", type=_WHOLE, help="Random starts of each attack; default: its own, 1 for pgd.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--task", type=click.Choice(["multiclass", "binary"]), default="multiclass", show_default=True)
@click.option("--limit", type=_WHOLE, help="Use only N images, evenly spread over the data.")
@click.option("--batch-size", type=_WHOLE, default=64, show_default=True, help="Images shown to the model at once.")
@click.option("--device", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one.")
@click.option("--resume", is_flag=True, help="Continue the evaluation in --out, if there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.pass_context
def evaluate(context: Any, attacks: tuple[str, ...], budgets: tuple[str, ...], as_json: bool, **values: Any) -> None:
    """Attack a model on your images, and write report.html.

    The function named by --model is called without arguments and returns a torch.nn.Module in eval() mode that gives
    logits for images in [0, 1]. It is your code and runs; a weights file is read, never run.
    """
    channels = values.pop("channels")
    options = Options(channels=int(channels) if channels else None, budgets=parse_budgets(attacks, budgets), **values)
    from medadv.cli.summary import finish

    share_the_cores()
    # What a model prints is for people: stdout belongs to the results.
    with redirect_stdout(sys.stderr):
        store = _run(options)
    try:
        finish(store, options.out / "report.html", as_json)
    except StoreDamaged as error:
        raise DamagedError(sentence(error)) from None


def _run(options: Options) -> Store:
    if not options.resume and os.path.lexists(options.out):
        raise InputError(f"--out {options.out}: exists already; name a new folder, or continue it with --resume")
    evaluation = _prepare(options)
    from medadv.sweep.evaluate import Progress
    from medadv.sweep.evaluate import evaluate as run

    with stop_between_batches() as check_stop, ProgressDisplay() as display:

        def progress(now: Progress) -> None:
            display.update(now.doing, now.done / now.total)
            check_stop()

        try:
            return run(evaluation, options.out, resume=options.resume, batch_size=options.batch_size, progress=progress)
        except KeyboardInterrupt:
            raise StoppedError(_how_to_continue(options)) from None
        except StoreDamaged as error:
            raise DamagedError(sentence(error)) from None
        except (ValueError, TypeError, OSError) as error:
            raise InputError(sentence(error)) from None
        except Exception as error:  # the model is the user's code and can raise anything
            raise InputError(_model_failed("under attack", error)) from error


def _how_to_continue(options: Options) -> str:
    given = click.get_current_context().find_root().info_name
    arguments = [str(given), *sys.argv[1:]]
    if not options.resume:
        arguments.append("--resume")
    return f"interrupted; nothing that was done is lost, continue with: {shlex.join(arguments)}"


def _prepare(options: Options) -> Evaluation:
    """Read and check everything; nothing is written."""
    try:
        data = read_images(
            options.data,
            size=options.size,
            channels=options.channels,
            window=options.window,
            split=options.split,
        )
        return _evaluation(options, _limited(data, options.limit))
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise InputError(sentence(error)) from None


def _evaluation(options: Options, data: ImageSet) -> Evaluation:
    from medadv.attacks import ATTACKS
    from medadv.models import Victim
    from medadv.sweep.plan import Curve, Evaluation

    victim = Victim(_model(options), task=options.task)
    asked = {"steps": options.steps, "restarts": options.restarts}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    curves = tuple(Curve(ATTACKS[name](**given), budgets) for name, budgets in options.budgets.items())
    evaluation = Evaluation(victim, options.model, data, str(options.data), curves, seed=options.seed)
    try:
        _ = evaluation.logits
    except (ValueError, TypeError):
        raise
    except Exception as error:  # the model is the user's code and can raise anything
        raise InputError(_model_failed("on the images", error)) from error
    return evaluation


def _model_failed(when: str, error: Exception) -> str:
    return f"the model failed {when} ({type(error).__name__}: {sentence(error)})"


def _model(options: Options) -> nn.Module:
    from medadv.models import UntrustedFile, load_model

    device = _device(options.device)
    try:
        return load_model(options.model, options.weights).to(device)
    except UntrustedFile as error:
        raise UntrustedError(sentence(error)) from None


def _device(name: str | None) -> Any:
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: cannot be used here ({sentence(error)})") from None
    return device


def _limited(data: ImageSet, limit: int | None) -> ImageSet:
    if limit is None or limit >= len(data):
        return data
    rows = np.arange(limit) * len(data) // limit
    names = tuple(data.names[row] for row in rows)
    return ImageSet(data.images[rows], data.labels[rows], names, data.class_names)
