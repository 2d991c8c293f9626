"""What a unit of an attack holds: a row per image, and the few images that are kept to be looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medadv.attacks import BudgetedAttack, MinimumNormAttack, Result, Status
from medadv.data import ImageSet
from medadv.sweep.panels import Panels, draw_panels, merge_panels, panels_of
from medadv.sweep.rows import Columns, blank_rows, rows_of

_PASSES = ("forwards", "backwards")


@dataclass(frozen=True, eq=False)
class Outcome:
    """Rows and panels of some images of the data, in rising order.

    Args:
        columns: one row per image.
        panels: of some of them.
    """

    columns: Columns
    panels: Panels

    @classmethod
    def blank(cls, data: ImageSet, examples: NDArray[np.int64]) -> Outcome:
        """Of images that were not attacked yet.

        Args:
            data: the images.
            examples: [M], their numbers, rising.
        """
        return cls(blank_rows(data, examples), {})

    def examples(self, status: Status) -> NDArray[np.int64]:
        """Numbers of the images that ended so.

        Args:
            status: how.
        """
        found: NDArray[np.int64] = self.columns["example"][self.columns["status"] == str(status)]
        return found

    def with_result(
        self,
        attack: BudgetedAttack | MinimumNormAttack,
        examples: NDArray[np.int64],
        images: Tensor,
        result: Result,
        data: ImageSet,
        shown: NDArray[np.int64],
    ) -> Outcome:
        """The same with what an attack did to some of the images.

        Args:
            attack: the attack.
            examples: [M], their numbers.
            images: [M, C, *S], clean.
            result: [M] rows.
            data: all images.
            shown: numbers of the images that are kept to be looked at.
        """
        columns = {name: values.copy() for name, values in self.columns.items()}
        places = np.searchsorted(columns["example"], examples)
        for name, values in rows_of(result, data.class_names).items():
            columns[name][places] = values
        return Outcome(columns, merge_panels(self.panels, draw_panels(attack, shown, images, result, examples)))

    def kept_at(self, larger: Outcome) -> Outcome:
        """The outcome at a larger budget, where what broke at this one keeps this result; passes stay where they were.

        Args:
            larger: of the same images at the larger budget.
        """
        broken = self.columns["status"] == str(Status.SUCCESS)
        columns = {
            name: values if name in _PASSES else np.where(broken, self.columns[name], values).astype(values.dtype)
            for name, values in larger.columns.items()
        }
        own = panels_of(self.panels, self.examples(Status.SUCCESS))
        return Outcome(columns, merge_panels(larger.panels, own))
