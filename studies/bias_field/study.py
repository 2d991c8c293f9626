"""The study: trains, attacks, and puts the numbers together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from medadv.metrics.realism import NaturalSceneModel, natural_scene_features
from studies._common.bootstrap import estimate
from studies._common.command import chosen
from studies._common.parts import Json, Parts
from studies._common.preparation import NetworkName, Prepared, prepare
from studies._common.progress import SetProgress, Tell
from studies.bias_field import figures, findings
from studies.bias_field.analysis import SetAnalysis, curve_rows, matched_rows, tuning_rows
from studies.bias_field.configuration import Configuration, Contender, Subject, contenders
from studies.bias_field.outcomes import outcome

ALL_SETS = "all sets"


@dataclass(frozen=True)
class BiasFieldStudy:
    """How often bias fields and noise fool networks, seen and unseen, and how real their images look.

    After the claims of Tian et al., "Bias field poses a threat to DNN-based X-ray recognition" (2021); networks, data,
    budgets and measures are ours.

    Args:
        configuration: what is run.
    """

    configuration: Configuration

    @property
    def title(self) -> str:
        return "Bias fields beside noise: success, transfer at matched success, realism."

    def with_sets(self, names: Sequence[str]) -> BiasFieldStudy:
        """The same study of some of its image sets."""
        some = chosen(self.configuration.subjects, names, lambda subject: subject.source.name)
        return BiasFieldStudy(replace(self.configuration, subjects=some))

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
        configuration, parts = self.configuration, Parts(out / "parts")
        sets: dict[str, SetAnalysis] = {}
        results: Json = {"configuration": asdict(configuration), "networks": [], "sets": [], "worst case": []}
        results |= {"curves": [], "tuning": [], "matched": [], "matrices": []}
        for number, subject in enumerate(configuration.subjects):
            progress = SetProgress(tell, number, len(configuration.subjects))
            prepared = self._prepared(subject, data, networks, progress)
            analysis = self._attacked(subject, prepared, parts, progress)
            sets[subject.source.name] = analysis
            results["networks"] += prepared.accuracy
            results["sets"].append(
                {
                    "set": subject.source.name,
                    "images": len(prepared.images),
                    "size": subject.source.size,
                    "seeds": list(subject.training_seeds),
                }
            )
            self._add_set(results, subject, analysis)
        for contender in contenders(configuration, 1):
            rows = matched_rows(list(sets.values()), contender.label, configuration.levels)
            results["matched"] += [{"set": ALL_SETS, **row} for row in rows]
        return results

    def figures(self, results: Json) -> dict[str, str]:
        return figures.figures(results)

    def findings(self, results: Json) -> str:
        return findings.findings(results)

    def _prepared(self, subject: Subject, data: Path | None, networks: Path, progress: SetProgress) -> Prepared:
        of = self.configuration
        return prepare(
            subject.source, data, of.architectures, subject.training_seeds, subject.images, networks, progress.training
        )

    def _attacked(self, subject: Subject, prepared: Prepared, parts: Parts, progress: SetProgress) -> SetAnalysis:
        of = self.configuration
        naturalness = NaturalSceneModel.fit(natural_scene_features(torch.from_numpy(prepared.training.images)))
        surrogates = [(architecture, subject.training_seeds[0]) for architecture in of.architectures]
        work: list[tuple[Contender, NetworkName, float]] = [
            (contender, surrogate, budget)
            for contender in contenders(of, prepared.source.size)
            for surrogate in surrogates
            for budget in subject.budgets(contender.kind)
        ]
        outcomes: dict[tuple[str, NetworkName], list[Json]] = {}
        for done, (contender, surrogate, budget) in enumerate(work):
            progress.attacking(f"{contender.label} on {surrogate[0]}, {prepared.source.name}", done / len(work))
            attack = contender.attack.with_budget(budget)
            found = outcome(parts, prepared, naturalness, surrogate, attack)
            outcomes.setdefault((contender.label, surrogate), []).append(found)
        return SetAnalysis(outcomes, sorted(prepared.victims), len(prepared.images), of.resamples, of.seed)

    def _add_set(self, results: Json, subject: Subject, analysis: SetAnalysis) -> None:
        of, where = self.configuration, {"set": subject.source.name}
        every = contenders(of, subject.source.size)
        for contender in every:
            label = contender.label
            results["curves"] += [
                {**where, **row} for row in curve_rows(analysis, contender, subject.budgets(contender.kind))
            ]
            results["matched"] += [{**where, **row} for row in matched_rows([analysis], label, of.levels)]
            results["matrices"] += [
                {**where, "contender": label, "level": level, "fooled": analysis.matrix(label, level)}
                for level in of.levels
            ]
        results["tuning"] += [{**where, **row} for row in tuning_rows(analysis, subject.gains)]
        for kind in ("field", "noise"):
            labels = [each.label for each in every if each.kind == kind and not each.random]
            sizes = subject.budgets(kind)
            worst = analysis.worst_case(labels)
            results["worst case"] += [
                {**where, "kind": kind, "budget": budget, "success": estimate(samples)}
                for budget, samples in zip(sizes, worst, strict=True)
            ]
