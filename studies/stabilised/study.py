"""The study: trains, attacks, and puts the numbers together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from studies._common.command import chosen
from studies._common.parts import Json, Parts
from studies._common.preparation import Prepared, prepare
from studies._common.progress import SetProgress, Tell
from studies.stabilised import figures, findings
from studies.stabilised.analysis import Samples, set_weights, summary
from studies.stabilised.configuration import FEW_STEPS, REFERENCE, Configuration, Contender, contenders
from studies.stabilised.outcomes import outcome

Outcomes = dict[tuple[str, float], list[Json]]


@dataclass(frozen=True)
class StabilisedStudy:
    """How much damage the stabilised attack does, and how evenly over image sets, beside plain attacks.

    After the claims of Qi et al., "Stabilized medical image attacks" (2021); networks, data, budgets and measures are
    ours.

    Args:
        configuration: what is run.
    """

    configuration: Configuration

    @property
    def title(self) -> str:
        return "The stabilised attack beside plain ones: damage, and its spread over image sets."

    def with_sets(self, names: Sequence[str]) -> StabilisedStudy:
        """The same study of some of its image sets."""
        some = chosen(self.configuration.sources, names, lambda source: source.name)
        return StabilisedStudy(replace(self.configuration, sources=some))

    def run(self, data: Path | None, out: Path, networks: Path, tell: Tell) -> Json:
        """Train, attack and analyse; parts that an earlier run finished are read.

        Args:
            data: folder of the packs.
            out: folder of the parts.
            networks: folder of the weights.
            tell: takes what is done, and the share of all work so far.

        Returns:
            The results as plain JSON values.
        """
        of, parts = self.configuration, Parts(out / "parts")
        found: dict[str, Outcomes] = {}
        images: dict[str, int] = {}
        accuracy: list[Json] = []
        for number, source in enumerate(of.sources):
            progress = SetProgress(tell, number, len(of.sources))
            prepared = prepare(
                source, data, of.architectures, of.training_seeds, of.images, networks, progress.training
            )
            found[source.name] = self._attacked(prepared, parts, progress)
            images[source.name] = len(prepared.images)
            accuracy += prepared.accuracy
        rows = self._rows(found, images)
        return {"configuration": asdict(of), "networks": accuracy, "images": images, "rows": rows}

    def figures(self, results: Json) -> dict[str, str]:
        return figures.figures(results)

    def findings(self, results: Json) -> str:
        return findings.findings(results)

    def _attacked(self, prepared: Prepared, parts: Parts, progress: SetProgress) -> Outcomes:
        of = self.configuration
        work = [(contender, eps) for contender in contenders(of) for eps in of.eps]
        found: Outcomes = {}
        for done, (contender, eps) in enumerate(work):
            progress.attacking(f"{contender.label}, {prepared.source.name}", done / len(work))
            attack = contender.attack.with_budget(eps)
            found[contender.label, eps] = [outcome(parts, prepared, each, attack) for each in sorted(prepared.victims)]
        return found

    def _rows(self, found: dict[str, Outcomes], images: dict[str, int]) -> list[Json]:
        of = self.configuration
        weights = set_weights(images, of.resamples, of.seed)

        def samples(label: str, eps: float) -> Samples:
            return Samples({name: outcomes[label, eps] for name, outcomes in found.items()}, weights)

        rows = []
        for eps in of.eps:
            references = {label: samples(label, eps) for label in (REFERENCE, FEW_STEPS)}
            for contender in contenders(of):
                row = _passes(contender, eps, found)
                rows.append({**row, **summary(samples(contender.label, eps), references)})
        return rows


def _passes(contender: Contender, eps: float, found: dict[str, Outcomes]) -> Json:
    every = [each for outcomes in found.values() for each in outcomes[contender.label, eps]]
    calls = {key: sum(each[key] for each in every) / len(every) for key in ("forwards", "backwards")}
    return {
        "contender": contender.label,
        "weight": contender.weight,
        "smoothed": contender.smoothed,
        "eps": eps,
        **calls,
    }
