"""The findings of the study of the stabilised attack, written from its numbers."""

from __future__ import annotations

from studies._common.parts import Json
from studies._common.wording import decimal, listed, made_with, networks_table, percent, points, sign, table
from studies.stabilised.analysis import BETWEEN_IMAGES, BETWEEN_SETS, MEAN, RELATIVE
from studies.stabilised.configuration import FEW_STEPS, REFERENCE

GREY_LEVELS = 255
VERSUS = f"less {REFERENCE}"


def findings(results: Json) -> str:
    """What the numbers say, as Markdown."""
    budgets = [
        part
        for eps in results["configuration"]["eps"]
        for part in (_heading(eps), _damage(results, eps), _spread(results, eps))
    ]
    parts = [
        "# The stabilised attack beside plain ones: findings",
        _what_was_run(results),
        "## In short",
        _verdicts(results),
        "## Networks",
        networks_table(results["networks"]),
        *budgets,
        "## What this does not say",
        _limits(),
        made_with(results["circumstances"]),
    ]
    return "\n\n".join(parts) + "\n"


def _what_was_run(results: Json) -> str:
    of = results["configuration"]
    sets = listed([f"{name} ({count} images)" for name, count in results["images"].items()])
    return (
        f"Sets: {sets}. Attacked are test images that every network gets right, at most {of['images']} per set. "
        f"Networks: {listed(of['architectures'])}, trained here, seed "
        f"{listed([str(seed) for seed in of['training_seeds']])}. The stabilised attack makes {of['steps']} steps; "
        f'"{REFERENCE}" and PGD ask the network as often by making more, shorter steps, "{FEW_STEPS}" makes as many; '
        "FGSM is one step. No attack stops when the network is fooled. Damage is the rise of the cross-entropy, "
        f"measured afresh. Every set counts the same. Intervals are 95 %, by {of['resamples']} bootstrap samples of "
        "the images of each set; differences are paired. They say nothing about other networks or sets. Claims "
        "examined are those of Qi et al., 2021, on networks, data and budgets of our own; weights are ours, since the "
        "paper's is not known."
    )


def _verdicts(results: Json) -> str:
    stabilised = [row for row in results["rows"] if row["smoothed"] is not None]
    lines = [
        _verdict(stabilised, "success", "fooled", MEAN, VERSUS),
        _verdict(stabilised, "damage", "damage", MEAN, VERSUS),
        _verdict(stabilised, "success", "fooled", MEAN, f"less {FEW_STEPS}"),
        _verdict(stabilised, "damage", "damage", MEAN, f"less {FEW_STEPS}"),
        _verdict(stabilised, "spread of success between sets", "fooled", BETWEEN_SETS, VERSUS),
        _verdict(stabilised, "spread of damage between sets", "damage", BETWEEN_SETS, VERSUS),
        _verdict(stabilised, "spread of damage between sets, relative to its mean", "damage", RELATIVE, VERSUS),
        _verdict(stabilised, "spread of damage between images of a set", "damage", BETWEEN_IMAGES, VERSUS),
    ]
    return "\n".join(lines)


def _verdict(rows: list[Json], words: str, measure: str, key: str, versus: str) -> str:
    signs = [sign(row[measure][versus][key]) for row in rows]
    best = max(rows, key=lambda row: row[measure][versus][key]["value"] or 0.0)
    worst = min(rows, key=lambda row: row[measure][versus][key]["value"] or 0.0)
    write = points if measure == "fooled" and key != RELATIVE else decimal
    return (
        f"- {words}, {versus.replace('less', 'against')}: higher in {signs.count(1)} of {len(signs)} combinations of "
        f"reading, weight and budget, lower in {signs.count(-1)}, no difference shown in {signs.count(0)}; from "
        f"{write(worst[measure][versus][key])} ({_name(worst)}) to {write(best[measure][versus][key])} ({_name(best)})."
    )


def _name(row: Json) -> str:
    return f"{row['contender']}, {_budget(row['eps'])}"


def _heading(eps: float) -> str:
    return f"## Changes of at most {_budget(eps)}"


def _budget(eps: float) -> str:
    return f"{GREY_LEVELS * eps:g}/255"


def _damage(results: Json, eps: float) -> str:
    body = [
        [
            row["contender"],
            f"{row['forwards'] + row['backwards']:.0f}",
            percent(row["fooled"][MEAN]),
            points(row["fooled"][VERSUS][MEAN]),
            decimal(row["damage"][MEAN], 2),
            decimal(row["damage"][VERSUS][MEAN], 2),
            *(percent(row["fooled"]["sets"][name]) for name in results["images"]),
        ]
        for row in results["rows"]
        if row["eps"] == eps
    ]
    head = ["attack", "calls per image", "fooled", f"{VERSUS}, points", "damage", VERSUS, *results["images"]]
    return table(head, body)


def _spread(results: Json, eps: float) -> str:
    body = [
        [
            row["contender"],
            percent(row["fooled"][BETWEEN_SETS]),
            points(row["fooled"][VERSUS][BETWEEN_SETS]),
            decimal(row["damage"][BETWEEN_SETS], 2),
            decimal(row["damage"][VERSUS][BETWEEN_SETS], 2),
            decimal(row["damage"][RELATIVE], 2),
            decimal(row["damage"][BETWEEN_IMAGES], 2),
        ]
        for row in results["rows"]
        if row["eps"] == eps
    ]
    head = [
        "attack",
        "fooled: standard deviation between sets",
        f"{VERSUS}, points",
        "damage: between sets",
        VERSUS,
        "relative to its mean",
        "between images of a set",
    ]
    return table(head, body)


def _limits() -> str:
    return "\n".join(
        [
            "- Networks are small, trained from nothing on small images, one of each; the paper's tasks were others.",
            "- A spread between three sets is a spread of three numbers; its interval speaks of their images only.",
            "- An attack that does less damage everywhere has a smaller spread for that alone: see the relative one.",
            "- Where nearly all images are fooled, or nearly none, success can show no difference.",
            "- Of all images seen on the way, each attack returns the one that its own objective likes best.",
            "- A step is 2.5 times the budget over the number of steps; other lengths were not tried.",
        ]
    )
