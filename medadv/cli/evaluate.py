"""`medadv evaluate`: attack a model on images, and write a report."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medadv._optional import require
from medadv.cli.attack_choice import AttackChoice, parse_attacks
from medadv.cli.budgets import parse_budgets
from medadv.cli.errors import DamagedError, InputError, StoppedError, sentence
from medadv.cli.interrupt import stop_between_batches
from medadv.cli.memory import keep_memory
from medadv.cli.progress import ProgressDisplay
from medadv.cli.sizes import CommandWithSizes, Sizes
from medadv.cli.threads import share_the_cores
from medadv.cli.victim import MULTILABEL, load
from medadv.data import ImageSet, read_images
from medadv.sweep.store import Store, StoreDamaged

if TYPE_CHECKING:
    from medadv.attacks import BudgetedAttack, MinimumNormAttack
    from medadv.models import NoSuchClassError
    from medadv.sweep.curve import Curve, Surrogate
    from medadv.sweep.plan import Evaluation

    AnyAttack = BudgetedAttack | MinimumNormAttack

click = require("click", extra="lab")


@dataclass(frozen=True)
class Options:
    """What `medadv evaluate` was asked for; see its --help."""

    model: str
    weights: Path | None
    surrogate: str | None
    surrogate_weights: Path | None
    data: Path
    labels: Path | None
    classes: tuple[str, ...] | None
    size: tuple[int, ...] | None
    channels: int | None
    window: tuple[float, float] | None
    bounds: tuple[float, float] | None
    clip: bool
    orientation: str | None
    split: str
    choices: tuple[AttackChoice, ...]
    budgets: dict[str, tuple[float, ...]]
    out: Path
    steps: int | None
    restarts: int | None
    curve: str
    seed: int
    task: str | None
    limit: int | None
    batch_size: int | None
    device: str | None
    resume: bool


_WHOLE = click.IntRange(min=1)
_PATH = click.Path(path_type=Path)
# A unit of work, which an interruption loses, and a batch, which has to fit into the memory of the device.
_IMAGES = {"shard_size": 256, "batch_size": 64}
_VOLUMES = {"shard_size": 32, "batch_size": 4}


@click.command(cls=CommandWithSizes, short_help="Attack a model on your images, and write report.html.")
@click.option("--model", required=True, metavar="SOURCE", help="package.module:function or file.py:function.")
@click.option("--weights", type=_PATH, help="Weights: safetensors, or a plain .pt state dict.")
@click.option("--data", required=True, type=_PATH, help="Folder with one sub-folder per class, or a MedMNIST .npz.")
@click.option("--labels", type=_PATH, help="CSV with the labels of the images in --data, in place of class folders.")
@click.option("--classes", metavar="A,B,...", help="Classes or findings in the order of the model's outputs.")
@click.option(
    "--task",
    type=click.Choice(["multiclass", "binary", "multilabel"]),
    help="Default: multiclass, or that of the Victim that the function returns.",
)
@click.option("--size", type=Sizes(), metavar="[D] H W", help="Resize images to H x W, volumes to D x H x W voxels.")
@click.option("--channels", type=click.Choice(["1", "3"]), help="Convert the images to grey (1) or colour (3).")
@click.option("--window", nargs=2, type=float, metavar="C W", help="Window of DICOM and NIfTI: centre and width.")
@click.option("--bounds", nargs=2, type=float, metavar="LOW HIGH", help="Range of images in their own units, as of HU.")
@click.option("--clip", is_flag=True, help="Cut off values beyond --bounds instead of refusing them.")
@click.option("--orientation", metavar="RAS", help="Turn NIfTI volumes: the sides to which their three axes lead.")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="test", help="Part of an .npz file; default: test."
)
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    required=True,
    metavar="NAME[:OPTION=VALUE,...]",
    help="See medadv attacks; repeatable. With transfer- before NAME it is made on --surrogate.",
)
@click.option("--budget", "budgets", multiple=True, metavar="[ATTACK=]V,V,...", help="Such as pgd=1/255,2/255.")
@click.option("--surrogate", metavar="SOURCE", help="Model that transfer- attacks are made on.")
@click.option("--surrogate-weights", type=_PATH, help="Its weights.")
@click.option("--out", required=True, type=_PATH, help="Folder for the results; must not exist yet.")
@click.option("--steps", type=_WHOLE, help="Steps of each attack that makes steps; default: its own, 20 for pgd.")
@click.option("--restarts", type=_WHOLE, help="Restarts of each attack that has them; default: its own, 1 for pgd.")
@click.option(
    "--curve",
    type=click.Choice(["falling", "rising"]),
    default="falling",
    show_default=True,
    help="Budgets from the largest down, each image until it withstands, or from the smallest up, until it breaks.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--limit", type=_WHOLE, help="Use only N images, evenly spread over the data.")
@click.option("--batch-size", type=_WHOLE, help="Images shown to the model at once; default: 64, of volumes 4.")
@click.option("--device", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one.")
@click.option("--resume", is_flag=True, help="Continue the evaluation in --out, if there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def evaluate(
    attacks: tuple[str, ...],
    budgets: tuple[str, ...],
    channels: str | None,
    classes: str | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Attack a model on your images, and write report.html.

    The function named by --model is called without arguments and returns a torch.nn.Module in eval() mode that gives
    logits for images in [0, 1], or in --bounds; or a medadv Victim, such as a RandomisedVictim or a GuardedVictim. It
    is your code and runs; a weights file is read, never run.
    """
    choices = parse_attacks(attacks)
    options = Options(
        channels=int(channels) if channels else None,
        classes=_names(classes) if classes is not None else None,
        choices=tuple(choices),
        budgets=parse_budgets(choices, budgets, values["bounds"]),
        **values,
    )
    _check_surrogate(options)
    from medadv.cli.summary import finish

    share_the_cores()
    keep_memory()
    # What a model prints is for people: stdout belongs to the results.
    with redirect_stdout(sys.stderr):
        store = _run(options)
    try:
        finish(store, options.out / "report.html", as_json)
    except StoreDamaged as error:
        raise DamagedError(sentence(error)) from None


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"--classes {text}: different names expected, with commas between them")
    return names


def _check_surrogate(options: Options) -> None:
    transferred = [choice.label for choice in options.choices if choice.transferred]
    if transferred and options.surrogate is None:
        raise InputError(f"--attack {transferred[0]}: needs a model to be made on, --surrogate SOURCE")
    if options.surrogate is not None and not transferred:
        raise InputError(f"--surrogate {options.surrogate}: no attack is made on it, as in --attack transfer-mi-fgsm")
    if options.surrogate_weights is not None and options.surrogate is None:
        raise InputError(f"--surrogate-weights {options.surrogate_weights}: there is no --surrogate")


def _run(options: Options) -> Store:
    if not options.resume and os.path.lexists(options.out):
        raise InputError(f"--out {options.out}: exists already; name a new folder, or continue it with --resume")
    try:
        evaluation = _prepare(options)
    except KeyboardInterrupt:
        raise StoppedError("interrupted before the first attack; nothing was written") from None
    from medadv.sweep.evaluate import evaluate as run
    from medadv.sweep.progress import Progress

    with stop_between_batches() as check_stop, ProgressDisplay() as display:

        def progress(now: Progress) -> None:
            display.update(now.doing, now.done / now.total)
            check_stop()

        try:
            return run(evaluation, options.out, resume=options.resume, progress=progress)
        except KeyboardInterrupt:
            raise StoppedError(_how_to_continue(options)) from None
        except StoreDamaged as error:
            raise DamagedError(sentence(error)) from None
        except (ValueError, TypeError, OSError) as error:
            raise InputError(sentence(error)) from None
        except Exception as error:  # the model is the user's code and can raise anything
            raise InputError(_model_failed("under attack", error)) from error


def _how_to_continue(options: Options) -> str:
    program = click.get_current_context().find_root().info_name
    arguments = sys.argv[1:] if options.resume else [*sys.argv[1:], "--resume"]
    return f"interrupted; nothing that was done is lost, continue with: {program} {shlex.join(arguments)}"


def _prepare(options: Options) -> Evaluation:
    """Read and check everything; nothing is written."""
    asked = {"steps": options.steps, "restarts": options.restarts}
    common = {name: value for name, value in asked.items() if value is not None}
    for name in common:
        if not any(name in choice.entry.options for choice in options.choices):
            raise InputError(f"--{name} {common[name]}: none of the attacks has {name}")
    for choice in options.choices:  # before the model and the images, which take their time
        _curve(choice, choice.build(common), options.budgets[choice.label], None)
    try:
        data = read_images(
            options.data,
            size=options.size,
            channels=options.channels,
            window=options.window,
            bounds=options.bounds,
            clip=options.clip,
            orientation=options.orientation,
            split=options.split,
            labels=options.labels,
            classes=options.classes,
            several=options.task == MULTILABEL,
            limit=options.limit,
        )
        return _evaluation(options, data, common)
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise InputError(sentence(error)) from None


def _evaluation(options: Options, data: ImageSet, common: dict[str, Any]) -> Evaluation:
    from medadv.models import NoSuchClassError
    from medadv.sweep.curve import Surrogate
    from medadv.sweep.plan import Evaluation

    asked: dict[str, Any] = {"task": options.task, "bounds": data.bounds, "device": options.device}
    model = load("--model", options.model, options.weights, **asked)
    surrogate = None
    if options.surrogate is not None:
        made_on = load("--surrogate", options.surrogate, options.surrogate_weights, **asked)
        surrogate = Surrogate(made_on, options.surrogate)

    def curve(choice: AttackChoice) -> Curve:
        seen = surrogate.victim if surrogate is not None and choice.transferred else model
        attack = choice.build(common, findings=options.task == MULTILABEL, guarded=seen.guarded)
        return _curve(choice, attack, options.budgets[choice.label], surrogate)

    sizes = _VOLUMES if data.images.ndim == 5 else _IMAGES
    evaluation = Evaluation(
        model,
        options.model,
        data,
        str(options.data),
        tuple(map(curve, options.choices)),
        seed=options.seed,
        falling=options.curve == "falling",
        shard_size=sizes["shard_size"],
        batch_size=options.batch_size or sizes["batch_size"],
    )
    try:
        _ = evaluation.logits
    except NoSuchClassError as error:
        raise InputError(_unanswered(options, data, error)) from None
    except (ValueError, TypeError):
        raise
    except Exception as error:  # the model is the user's code and can raise anything
        raise InputError(_model_failed("on the images", error)) from error
    _check_classes(options, evaluation)
    return evaluation


def _unanswered(options: Options, data: ImageSet, error: NoSuchClassError) -> str:
    """The image whose class the model does not have."""
    return (
        f"{options.labels or options.data}: image {data.names[error.row]!r} is of class {error.label} "
        f"({data.class_names[error.label]!r}), but --model {options.model} answers with classes 0 to "
        f"{error.num_classes - 1}"
    )


def _check_classes(options: Options, evaluation: Evaluation) -> None:
    """Raise if the model has answers that no name of a class stands for: then the names may belong to others."""
    names = evaluation.data.class_names
    answers = evaluation.logits.shape[1] - evaluation.victim.guarded
    named = options.classes is not None or options.data.is_dir()  # an .npz has numbers alone
    if named and answers > len(names):
        raise InputError(
            f"--model {options.model}: answers with {answers} classes, but {options.data} has {len(names)} "
            f"({', '.join(names)}); name all of the model's with --labels FILE and --classes"
        )


def _curve(choice: AttackChoice, attack: AnyAttack, budgets: tuple[float, ...], surrogate: Surrogate | None) -> Curve:
    from medadv.sweep.curve import Curve

    try:
        return Curve(attack, budgets, choice.label, surrogate if choice.transferred else None)
    except (ValueError, TypeError) as error:
        raise InputError(f"--budget {choice.label}: {sentence(error)}") from None


def _model_failed(when: str, error: Exception) -> str:
    return f"the model failed {when} ({type(error).__name__}: {sentence(error)})"
