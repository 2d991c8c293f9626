"""The figures of the study of the stabilised attack, drawn from its results."""

from __future__ import annotations

from studies._common.figure import PERCENT_TICKS, Curve, Panel, curves_figure
from studies._common.parts import Json
from studies.stabilised.analysis import BETWEEN_SETS, MEAN

GREY_LEVELS = 255
WORDS = {"fooled": "images fooled", "damage": "rise of the cross-entropy"}


def figures(results: Json) -> dict[str, str]:
    """SVG text by file name."""
    return {"damage.svg": _damage(results), "sets.svg": _sets(results)}


def _damage(results: Json) -> str:
    panels = [
        _panel(results, eps, measure, key)
        for measure in WORDS
        for key in (MEAN, BETWEEN_SETS)
        for eps in results["configuration"]["eps"]
    ]
    return curves_figure(
        "Damage against the weight of the stabilisation",
        "mean of the image sets, and standard deviation between them; 95 % intervals; dashed: plain attacks",
        panels,
        columns=len(results["configuration"]["eps"]),
    )


def _sets(results: Json) -> str:
    reading = results["configuration"]["smoothed"][0]
    panels = []
    for measure in WORDS:
        for eps in results["configuration"]["eps"]:
            rows = _at(results, eps)
            path = _path(rows, reading)
            curves = tuple(
                Curve(name, tuple((x, *_triple(row[measure]["sets"][name])) for x, row in enumerate(path)))
                for name in results["images"]
            )
            ticks = _ticks(results, measure, [row[measure]["sets"][name] for row in path for name in results["images"]])
            panels.append(_axes(results, eps, WORDS[measure], curves, ticks))
    return curves_figure(
        f'Damage in each image set against the weight of the stabilisation, "{reading}" smoothed',
        "mean over networks, with 95 % intervals over images",
        panels,
        columns=len(results["configuration"]["eps"]),
    )


def _panel(results: Json, eps: float, measure: str, key: str) -> Panel:
    rows = _at(results, eps)
    last = len(results["configuration"]["weights"])
    curves = [
        Curve(f'"{reading}" smoothed', _points(_path(rows, reading), measure, key))
        for reading in results["configuration"]["smoothed"]
    ]
    for row in rows:
        value = row[measure][key]["value"]
        if row["weight"] is None and value is not None:
            curves.append(Curve(row["contender"], ((0, value), (last, value)), dashed=True))
    shown = [row[measure][key] for row in rows]
    words = WORDS[measure] if key == MEAN else f"{WORDS[measure]}: {key}"
    return _axes(results, eps, words, tuple(curves), _ticks(results, measure, shown, whole=key == MEAN))


def _axes(
    results: Json, eps: float, words: str, curves: tuple[Curve, ...], y_ticks: tuple[tuple[float, str], ...]
) -> Panel:
    weights = [0.0, *results["configuration"]["weights"]]
    return Panel(
        title=f"at most {GREY_LEVELS * eps:g}/255",
        x_label="weight of the stabilisation",
        y_label=words,
        curves=curves,
        x_ticks=tuple((number, f"{weight:g}") for number, weight in enumerate(weights)),
        y_ticks=y_ticks,
    )


def _at(results: Json, eps: float) -> list[Json]:
    return [row for row in results["rows"] if row["eps"] == eps]


def _path(rows: list[Json], reading: str) -> list[Json]:
    """Weight 0, then the rising weights of a reading."""
    return [row for row in rows if row["weight"] == 0] + [row for row in rows if row["smoothed"] == reading]


def _points(path: list[Json], measure: str, key: str) -> tuple[tuple[float, ...], ...]:
    found = [(float(x), _triple(row[measure][key])) for x, row in enumerate(path)]
    return tuple((x, *values) for x, values in found if values)


def _triple(number: Json) -> tuple[float, ...]:
    """The value with its interval; the value alone where there is no interval; nothing where there is no value."""
    if number["value"] is None:
        return ()
    return (number["value"],) if number["low"] is None else (number["value"], number["low"], number["high"])


def _ticks(results: Json, measure: str, numbers: list[Json], whole: bool = True) -> tuple[tuple[float, str], ...]:
    """Ticks of the y axis: all percentages, or five from 0 to a round number above all values."""
    if measure == "fooled" and whole:
        return PERCENT_TICKS
    largest = max(max(_triple(number), default=0.0) for number in numbers)
    top = next(each for each in _ROUND if each >= largest or each == _ROUND[-1])
    scale, unit = (100, " %") if measure == "fooled" else (1, "")
    return tuple((top * part / 4, f"{scale * top * part / 4:g}{unit}") for part in range(5))


_ROUND = tuple(digit * 10.0**power for power in range(-2, 4) for digit in (1, 2, 4, 8))
