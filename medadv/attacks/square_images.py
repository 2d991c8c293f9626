"""The images that the Square attack shows."""

from __future__ import annotations

import torch
from torch import Tensor

from medadv.attacks.questions import Answers, Questions
from medadv.perturbations import Additive, Parameters


class L2Images:
    """Images of noise that is projected into the ball and the bounds.

    Args:
        perturbation: the ball.
        questions: about which images.
    """

    def __init__(self, perturbation: Additive, questions: Questions) -> None:
        self.perturbation = perturbation
        self.questions = questions
        self.bounds = questions.victim.bounds

    def fitted(self, rows: Tensor, noise: Tensor) -> Tensor:
        """Noise to go on from.

        Args:
            rows: [M] int64, the examples.
            noise: [M, C, *S].

        Returns:
            [M, C, *S].
        """
        return self._projected(rows, noise)["noise"]

    def images(self, rows: Tensor, noise: Tensor) -> Tensor:
        """The images to be shown.

        Args:
            rows: [M] int64, the examples.
            noise: [M, C, *S] fitted.

        Returns:
            [M, C, *S].
        """
        return self.perturbation.apply(self.questions.examples(rows).images, self.parameters(rows, noise), self.bounds)

    def parameters(self, rows: Tensor, noise: Tensor) -> Parameters:
        """The parameters of these images."""
        return {"noise": noise}

    def note(self, rows: Tensor, step: int, noise: Tensor, answers: Answers, leaving: Tensor) -> None:
        """Write down the last that is said of images, and forget them.

        Args:
            rows: [M] int64, the examples.
            step: steps made so far.
            noise: [M, C, *S] fitted.
            answers: to their images.
            leaving: bool [M], which are over.
        """
        images, parameters = self.images(rows, noise), self.parameters(rows, noise)
        parameters = {name: values[leaving] for name, values in parameters.items()}
        self.questions.note(rows[leaving], step, images[leaving], parameters, answers.of_rows(leaving))

    def _projected(self, rows: Tensor, noise: Tensor) -> Parameters:
        return self.perturbation.project(self.questions.examples(rows).images, {"noise": noise}, self.bounds)


class LinfImages(L2Images):
    """Images of noise that is plus or minus the radius everywhere: each voxel has one of two values, found once.

    Args:
        perturbation: the ball.
        questions: about which images.
    """

    def __init__(self, perturbation: Additive, questions: Questions) -> None:
        super().__init__(perturbation, questions)
        (radius,) = perturbation.radii(self.bounds).values()
        rows = questions.rows
        clean = questions.examples(rows).images
        lighter, darker = (
            super(LinfImages, self).images(rows, self._projected(rows, torch.full_like(clean, noise))["noise"])
            for noise in (radius, -radius)
        )
        self._lighter = lighter.view(torch.int32)
        self._differ = self._lighter ^ darker.view(torch.int32)

    def fitted(self, rows: Tensor, noise: Tensor) -> Tensor:
        return noise

    def images(self, rows: Tensor, noise: Tensor) -> Tensor:
        # On the bits, where noise below zero has all bits of `darker` set: a choice by a mask is ten times slower.
        darker = noise.view(torch.int32) >> 31
        return (self._lighter ^ (self._differ & darker)).view(torch.float32)

    def parameters(self, rows: Tensor, noise: Tensor) -> Parameters:
        return self._projected(rows, noise)

    def note(self, rows: Tensor, step: int, noise: Tensor, answers: Answers, leaving: Tensor) -> None:
        super().note(rows, step, noise, answers, leaving)
        self._lighter, self._differ = self._lighter[~leaving], self._differ[~leaving]
