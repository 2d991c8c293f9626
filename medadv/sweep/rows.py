"""The rows of a unit: what an attack did to each image, and what of that lies within a budget."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medadv.attacks import Result, Status
from medadv.data import ImageSet

Columns = dict[str, NDArray[Any]]
"""One array per column, one row per image; texts as objects."""

NO_FINDING = "No Finding"
REJECTED = "rejected"


def blank_rows(data: ImageSet, examples: NDArray[np.int64]) -> Columns:
    """Rows of images that were not attacked yet.

    Args:
        data: the images.
        examples: [M], numbers of the images.

    Returns:
        All columns of an attack.
    """
    count = len(examples)
    labels = as_column(data.labels[examples], data.class_names)
    unanswered = np.full(count, "", object) if labels.dtype == object else np.zeros(count, np.int64)
    return {
        "example": examples,
        "name": np.array([data.names[example] for example in examples], dtype=object),
        "label": labels,
        "clean_prediction": unanswered.copy(),
        "prediction": unanswered,
        "status": np.full(count, "", dtype=object),
        "loss": np.zeros(count, np.float32),
        "distance": np.zeros(count, np.float64),
        "step": np.zeros(count, np.int64),
        "forwards": np.zeros(count, np.int64),
        "backwards": np.zeros(count, np.int64),
    }


def rows_of(result: Result, class_names: tuple[str, ...]) -> Columns:
    """What an attack found, but for number, name and label of the images.

    Args:
        result: [M] images.
        class_names: the classes, or the findings where there are several labels.

    Returns:
        The other columns of an attack, [M].
    """
    return {
        "clean_prediction": as_column(result.clean_predictions.cpu().numpy(), class_names),
        "prediction": as_column(result.predictions.cpu().numpy(), class_names),
        "status": np.array([str(Status(value)) for value in result.status.tolist()], dtype=object),
        "loss": result.loss.cpu().numpy(),
        "distance": result.distance.cpu().numpy(),
        "step": result.step.cpu().numpy(),
        "forwards": result.forwards.cpu().numpy(),
        "backwards": result.backwards.cpu().numpy(),
    }


def read_off(found: Columns, budget: float, clean_margins: NDArray[np.float32]) -> Columns:
    """The rows for a budget from those of an attack that looked for the smallest change.

    Args:
        found: of the attack.
        budget: in the units of its distances.
        clean_margins: [M], of the clean images.

    Returns:
        A find that is further away than the budget counts as failed, with the clean image as the best there is. The
        passes are those of the attack: they were made once, whatever the number of budgets.
    """
    beyond = (found["status"] == str(Status.SUCCESS)) & (found["distance"] > budget)
    instead = {
        "status": np.array(str(Status.FAILED), dtype=object),
        "prediction": found["clean_prediction"],
        "loss": clean_margins,
        "distance": np.array(0.0),
        "step": np.array(-1),
    }
    return {
        name: np.where(beyond, instead[name], values).astype(values.dtype) if name in instead else values
        for name, values in found.items()
    }


def as_column(answers: NDArray[np.int64], class_names: tuple[str, ...]) -> NDArray[Any]:
    """Labels or predictions as a column: class numbers as they are, findings as a text.

    Args:
        answers: [M] class numbers, or [M, K] of 0 and 1; a last column K + 1 is 1 where a detector rejects the image.
        class_names: K names.

    Returns:
        [M] int64 or objects.

    >>> as_column(np.array([[1, 0, 1], [0, 0, 0]]), ("Effusion", "Mass", "Nodule")).tolist()
    ['Effusion|Nodule', 'No Finding']
    >>> as_column(np.array([[1, 0, 1]]), ("Effusion", "Mass")).tolist()
    ['rejected']
    """
    if answers.ndim == 1:
        return answers
    return np.array([_findings(row, class_names) for row in answers.tolist()], dtype=object)


def _findings(row: list[int], names: tuple[str, ...]) -> str:
    found, rejected = row[: len(names)], row[len(names) :]
    if any(rejected):
        return REJECTED
    return "|".join(name for name, there in zip(names, found, strict=True) if there) or NO_FINDING
