"""The findings of the study of the bias field attack, written from its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable

from studies._common.parts import Json
from studies._common.wording import (
    NOT_THERE,
    decimal,
    listed,
    made_with,
    networks_table,
    percent,
    plain,
    points,
    sign,
    table,
)
from studies.bias_field.analysis import BLACK_BOX, OTHER_SEED, REFERENCE, TUNED, UNTUNED

ALL_SETS = "all sets"
GREY_LEVELS = 255


def findings(results: Json) -> str:
    """What the numbers say, as Markdown."""
    parts = [
        "# Bias fields beside noise: findings",
        _what_was_run(results),
        "## In short",
        _in_short(results),
        "## Networks",
        networks_table(results["networks"]),
        "## Success on the network that the attack sees",
        _success(results),
        "## Moving the coordinates of the polynomial",
        _tuning(results),
        "## Transfer at matched success",
        _transfer(results),
        "## Realism at matched success",
        _realism(results),
        "## Beside chance",
        _chance(results),
        "## What this does not say",
        _limits(results),
        made_with(results["circumstances"]),
    ]
    return "\n\n".join(parts) + "\n"


def _what_was_run(results: Json) -> str:
    of = results["configuration"]
    sets = listed([f"{each['set']} ({each['images']} images of {each['size']} pixels)" for each in results["sets"]])
    seeds = "; ".join(f"{each['set']}: {listed([str(seed) for seed in each['seeds']])}" for each in results["sets"])
    return (
        f"Sets: {sets}. Attacked are test images that every network gets right. "
        f"Networks: {listed(of['architectures'])}, trained here ({seeds} are their seeds); attacked are those of the "
        "first seed, and all are shown the images. "
        f"Every attack makes {of['steps']} steps and does not stop when the network is fooled; random ones draw "
        f"{of['steps']} times. Intervals are 95 %, by {of['resamples']} bootstrap samples of the images; differences "
        "are paired. They say nothing about other networks. Claims examined are those of Tian et al., 2021, on "
        "networks, data and budgets of our own."
    )


def _in_short(results: Json) -> str:
    levels = results["configuration"]["levels"]
    lines = [
        _worst_case(results),
        _tuning_verdict(results),
        *(f"At {100 * level:.0f} % success, {_transfer_verdict(results, _whole(results), level)}." for level in levels),
        *(f"At {100 * level:.0f} % success, {_realism_verdict(results, level)}." for level in levels),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _success(results: Json) -> str:
    rows = []
    for contender in _contenders(results["curves"]):
        cells = [contender]
        for group in results["sets"]:
            curve = _rows(results["curves"], set=group["set"], contender=contender)
            cells += [_smallest_budget(curve, level) for level in results["configuration"]["levels"]]
        rows.append(cells)
    levels = [f"{100 * level:.0f} %" for level in results["configuration"]["levels"]]
    head = ["attack", *(f"{group['set']}, {level}" for group in results["sets"] for level in levels)]
    return "\n\n".join(
        [
            "Smallest budget tried that fools so many images, at it or a smaller one, mean over networks (fields: "
            "largest gain; noise: largest change in 1/255):",
            table(head, rows),
            _worst_case(results),
            _falls(results),
        ]
    )


def _worst_case(results: Json) -> str:
    worst = [
        f"{percent(row['success'])} of the images of {row['set']} at a gain of {row['budget']:g}"
        for group in results["sets"]
        for row in _rows(results["worst case"], set=group["set"], kind="field")
    ]
    return f"The worst case of each image over the four field attacks, mean over networks: {'; '.join(worst)}."


def _falls(results: Json) -> str:
    found = []
    for group in results["sets"]:
        for contender in _contenders(results["curves"]):
            curve = _rows(results["curves"], set=group["set"], contender=contender)
            alone = [row["success at this budget alone"] for row in curve]
            best, fall = 0.0, 0.0
            for value in alone:
                best = max(best, value)
                fall = max(fall, best - value)
            if fall > 0.05:
                found.append(f"{contender} on {group['set']} by {100 * fall:.0f} points")
    if not found:
        return "No attack fools fewer images at a larger budget by more than 5 points."
    return (
        "A larger budget contains every smaller one, and yet these searches fool fewer images there than at a smaller "
        f"one: {'; '.join(found)}. Steps that are parts of the budget overshoot; the counts above take smaller budgets "
        "into account, transfer and realism below do not."
    )


def _smallest_budget(curve: list[Json], level: float) -> str:
    for row in curve:
        if row["success"]["value"] >= level:
            return f"{row['budget']:g}" if row["kind"] == "field" else f"{row['budget'] * GREY_LEVELS:g}"
    return f"> {curve[-1]['budget']:g}" if curve[-1]["kind"] == "field" else f"> {curve[-1]['budget'] * GREY_LEVELS:g}"


def _tuning(results: Json) -> str:
    tables = []
    for group in results["sets"]:
        rows = [_rows(results["tuning"], set=group["set"], contender=label) for label in TUNED]
        head = [f"{group['set']}, moved by", *(f"gain {row['budget']:g}" for row in rows[0])]
        body = [
            [label, *(points(row[f"success less {UNTUNED}"]) for row in cells)]
            for label, cells in zip(TUNED, rows, strict=True)
        ]
        tables.append(table(head, body))
    return "\n\n".join(["Success less that of the polynomial alone, in points:", *tables, _tuning_verdict(results)])


def _tuning_verdict(results: Json) -> str:
    signs = [sign(row[f"success less {UNTUNED}"]) for row in results["tuning"]]
    return (
        f"Moving the coordinates, against the polynomial alone: of {len(signs)} comparisons, success is higher in "
        f"{signs.count(1)}, lower in {signs.count(-1)}, and no difference is shown in {signs.count(0)}."
    )


def _transfer(results: Json) -> str:
    parts = [
        "Share of images that fool networks of other architectures, where the attack's success on its own network is "
        "the same for all (a mixture of the two budgets around that level); in brackets intervals, – where the level "
        "is not reached on every network."
    ]
    names = _parts_of(results)
    for level in results["configuration"]["levels"]:
        rows = []
        for contender in _contenders(results["matched"]):
            (whole,) = _rows(results["matched"], set=_whole(results), contender=contender, level=level)
            sets = [_rows(results["matched"], set=name, contender=contender, level=level)[0] for name in names]
            rows.append(
                [
                    contender,
                    percent(whole[BLACK_BOX]),
                    points(whole[f"{BLACK_BOX} less {REFERENCE}"]) if contender != REFERENCE else NOT_THERE,
                    *(percent(row[BLACK_BOX]) for row in sets),
                ]
            )
        head = ["attack", _whole(results), f"less {REFERENCE}, points", *names]
        parts += [
            f"At {100 * level:.0f} % success:",
            table(head, rows),
            _other_seed(results, level),
            _transfer_verdicts(results, level),
        ]
    return "\n\n".join(parts)


def _other_seed(results: Json, level: float) -> str:
    sentences = []
    for group in results["sets"]:
        rows = _rows(results["matched"], set=group["set"], level=level)
        known = [row for row in rows if row[OTHER_SEED] and row[OTHER_SEED]["value"] is not None]
        if known:
            shares = ", ".join(f"{row['contender']} {percent(row[OTHER_SEED])}" for row in known)
            sentences.append(f"{group['set']}: {shares}")
    return f"The same architecture, trained from another seed. {'; '.join(sentences) or 'Not trained'}."


def _transfer_verdicts(results: Json, level: float) -> str:
    sets = dict.fromkeys([_whole(results), *_parts_of(results)])
    return "\n".join(f"- {_transfer_verdict(results, where, level)}." for where in sets)


def _transfer_verdict(results: Json, where: str, level: float) -> str:
    rows = [
        row
        for row in _rows(results["matched"], set=where, level=level)
        if row["contender"] != REFERENCE and not row["contender"].startswith("random")
    ]
    difference = f"{BLACK_BOX} less {REFERENCE}"
    known = [row for row in rows if row[difference] and row[difference]["low"] is not None]
    better, worse, same = ([row["contender"] for row in known if sign(row[difference]) == s] for s in (1, -1, 0))
    no_interval = [row["contender"] for row in rows if row not in known]
    return (
        f"{where}: other architectures are fooled more often than by {REFERENCE} by {listed(better)}, less often by "
        f"{listed(worse)}; no difference shown for {listed(same)}, no interval for {listed(no_interval)}"
    )


def _realism(results: Json) -> str:
    parts = [
        "Mean over images at the same mixtures. Structural similarity and signal-to-noise ratio: higher is nearer to "
        "the clean image; rise of the distance from natural-scene statistics of clean training images, and variation "
        "of the log gain per pixel: lower looks more real."
    ]
    for level in results["configuration"]["levels"]:
        rows = []
        for row in _rows(results["matched"], set=_whole(results), level=level):
            realism = row["realism"]
            rows.append(
                [
                    row["contender"],
                    decimal(realism["ssim"]),
                    _decibels(realism["squared change"]["value"]),
                    decimal(realism["naturalness"], 2),
                    decimal(realism["variation"], 4),
                ]
            )
        head = ["attack", "structural similarity", "signal to noise, dB", "natural-scene distance", "variation"]
        parts += [
            f"At {100 * level:.0f} % success, {_whole(results)}:",
            table(head, rows),
            f"By the intervals of the paired differences, {_realism_verdict(results, level)}.",
        ]
    return "\n\n".join(parts)


def _realism_verdict(results: Json, level: float) -> str:
    words = {"ssim": ("structural similarity", 1), "naturalness": ("natural-scene distance", -1)}
    words["variation"] = ("variation of the log gain", -1)
    sentences = []
    for measure, (name, good) in words.items():
        rows = [
            row
            for row in _rows(results["matched"], set=_whole(results), level=level)
            if row["contender"] in _fields(results)
        ]
        signs = {row["contender"]: good * sign(row["realism"][f"{measure} less {REFERENCE}"]) for row in rows}
        better, worse = ([label for label, each in signs.items() if each == s] for s in (1, -1))
        sentences.append(f"by {name}, more real are {listed(better)}, less real {listed(worse)}")
    return f"field attacks beside {REFERENCE}, {_whole(results)}: " + "; ".join(sentences)


def _chance(results: Json) -> str:
    sentences = []
    for group in results["sets"]:
        for label in ("random field", "random noise"):
            row = _rows(results["curves"], set=group["set"], contender=label)[-1]
            budget = (
                f"a gain of {row['budget']:g}" if row["kind"] == "field" else f"{row['budget'] * GREY_LEVELS:g}/255"
            )
            sentences.append(f"{label} on {group['set']}: {percent(row['success'])} at {budget}")
    return (
        "Images fooled by the best of as many random draws as the attacks make steps, at the largest budget: "
        + "; ".join(sentences)
        + "."
    )


def _limits(results: Json) -> str:
    return "\n".join(
        [
            "- Networks are small, trained from nothing on small images; the paper's are large and were pre-trained.",
            "- Equal success is not equal change: see the signal-to-noise ratios. How often a network falls to a field "
            "that changes the image as little as the noise does was not measured.",
            "- The child chest X-rays give their class away beside the lungs, such as in the frame: networks that "
            "learnt this from the same images share it, and a change of brightness may reach all of them at once.",
            "- Only images that all networks get right are attacked: they are easier than the rest.",
            "- Each network was trained once or twice; a difference between attacks may be one between these networks.",
            "- Patients are kept apart where the set knows them (MedNIST does not).",
            "- Gains have a limit here; the attack as published, as far as it is known, has none.",
            "- Weights, steps and grids of the field attacks are not the paper's, which does not tell them.",
            "- No person judged how real an image looks.",
        ]
    )


def _whole(results: Json) -> str:
    """What is said of all sets together, or the only one."""
    names = [group["set"] for group in results["sets"]]
    return ALL_SETS if len(names) > 1 else names[0]


def _parts_of(results: Json) -> list[str]:
    """The sets one by one, where there are several."""
    names = [group["set"] for group in results["sets"]]
    return names if len(names) > 1 else []


def _decibels(squared_change: float | None) -> str:
    return NOT_THERE if not squared_change else plain(-10 * math.log10(squared_change), 1)


def _contenders(rows: Iterable[Json]) -> list[str]:
    return list(dict.fromkeys(row["contender"] for row in rows))


def _fields(results: Json) -> list[str]:
    found = [row["contender"] for row in results["curves"] if row["kind"] == "field"]
    return [label for label in dict.fromkeys(found) if not label.startswith("random")]


def _rows(rows: Iterable[Json], **wanted: object) -> list[Json]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]
