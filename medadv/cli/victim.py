"""The model under attack, as --model and --surrogate name it, and whether the options agree with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medadv.cli.errors import InputError, UntrustedError, sentence

if TYPE_CHECKING:
    from medadv.models import Victim

MULTICLASS, MULTILABEL = "multiclass", "multilabel"


def load(
    option: str,
    source: str,
    weights: Path | None,
    *,
    task: str | None,
    bounds: tuple[float, float],
    device: str | None,
) -> Victim:
    """The victim that a function makes, on its device; imports torch.

    Args:
        option: "--model" or "--surrogate", for sentences.
        source: names the function.
        weights: file of weights to be loaded.
        task: that was asked for; None: that of a victim that the function returns, else "multiclass".
        bounds: in which the images were read.
        device: that was asked for; None: a GPU if there is one.

    Raises:
        InputError: a device that is not there; a victim of another task or of other bounds.
        UntrustedError: a weights file that could run code.
        SourceError: a function that makes no model, or weights that do not fit.
    """
    from medadv.models import UntrustedFile, load_victim

    place = _device(device)
    try:
        victim = load_victim(source, weights, task=task or MULTICLASS, bounds=bounds)
    except UntrustedFile as error:
        raise UntrustedError(sentence(error)) from None
    _check_agreement(f"{option} {source}", victim, task, bounds)
    victim.module.to(place)
    return victim


def _check_agreement(given: str, victim: Victim, task: str | None, bounds: tuple[float, float]) -> None:
    own = victim.configuration()["task"]
    if task is not None and own != task:
        raise InputError(f"{given}: returns a victim with the task {own}, but --task says {task}")
    if task is None and own == MULTILABEL:
        raise InputError(f"{given}: returns a victim with the task {own}; give --task {own} and --labels FILE")
    if victim.bounds != bounds:
        low, high = (f"{bound:g}" for bound in victim.bounds)
        raise InputError(
            f"{given}: returns a victim for images from {low} to {high}, but they are read from {bounds[0]:g} to "
            f"{bounds[1]:g}; give --bounds {low} {high} if they are in these units"
        )


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
