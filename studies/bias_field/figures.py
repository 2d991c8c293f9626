"""The figures of the study of the bias field attack, drawn from its results."""

from __future__ import annotations

from studies._common.figure import PERCENT_TICKS, Curve, Matrix, Panel, curves_figure, matrices_figure
from studies._common.parts import Json

BLACK_BOX = "black box"
GREY_LEVELS = 255
REALISM_PANELS = (
    ("ssim", "structural similarity", tuple((v / 100, f"{v / 100:g}") for v in (40, 60, 80, 100)), False),
    ("naturalness", "rise of natural-scene distance", tuple((v, f"{v:g}") for v in (0.1, 1, 10, 100, 1000)), True),
    ("variation", "variation of the log gain", tuple((v, f"{v:g}") for v in (0.001, 0.01, 0.1, 1)), True),
)


def figures(results: Json) -> dict[str, str]:
    """SVG text by file name."""
    made = {"success.svg": _success(results), "realism.svg": _realism(results)}
    for level in results["configuration"]["levels"]:
        made[f"transfer-{100 * level:.0f}.svg"] = _transfer(results, level)
    return made


def _sets(results: Json) -> list[Json]:
    found: list[Json] = results["sets"]
    return found


def _success(results: Json) -> str:
    panels = []
    for group in _sets(results):
        for kind in ("field", "noise"):
            panels.append(_success_panel(results, group, kind))
    return curves_figure(
        "Images fooled against budget",
        "at a budget or a smaller one; mean over networks, 95 % intervals over images; dashed: drawn at random",
        panels,
        columns=2,
    )


def _success_panel(results: Json, group: Json, kind: str) -> Panel:
    rows = [row for row in results["curves"] if row["set"] == group["set"] and row["kind"] == kind]
    budgets = sorted({row["budget"] for row in rows})
    curves = tuple(
        Curve(label, tuple(_point(row) for row in rows if row["contender"] == label), label.startswith("random"))
        for label in dict.fromkeys(row["contender"] for row in rows)
    )
    words = _gain if kind == "field" else _grey_levels
    return Panel(
        title=f"{group['set']} ({group['images']} images)",
        x_label="largest gain" if kind == "field" else "largest change, in 1/255",
        y_label="fooled",
        curves=curves,
        x_ticks=tuple((budget - (kind == "field"), words(budget)) for budget in budgets),
        y_ticks=PERCENT_TICKS,
        log_x=True,
    )


def _point(row: Json) -> tuple[float, ...]:
    # Gains are shown by how far they are from 1, so that equal factors are equally far apart.
    x = row["budget"] - (row["kind"] == "field")
    return (x, row["success"]["value"], row["success"]["low"], row["success"]["high"])


def _gain(budget: float) -> str:
    return f"{budget:g}"


def _grey_levels(budget: float) -> str:
    return f"{budget * GREY_LEVELS:g}"


def _realism(results: Json) -> str:
    panels = []
    for group in _sets(results):
        rows = [row for row in results["curves"] if row["set"] == group["set"]]
        rows = [row for row in rows if not row["contender"].startswith("random")]
        for measure, words, ticks, log in REALISM_PANELS:
            curves = tuple(
                Curve(
                    label,
                    tuple(
                        (row["success at this budget alone"], row["realism"][measure])
                        for row in rows
                        if row["contender"] == label
                    ),
                    dashed=any(row["kind"] == "noise" for row in rows if row["contender"] == label),
                )
                for label in dict.fromkeys(row["contender"] for row in rows)
            )
            panels.append(Panel(group["set"], "fooled", words, curves, PERCENT_TICKS, ticks, log_y=log))
    return curves_figure(
        "How real the images look, against success on the network that the attack sees",
        "one point per budget, mean over images and surrogates; dashed: noise",
        panels,
        columns=len(REALISM_PANELS),
    )


def _realism_curve(rows: list[Json], measure: str) -> Curve:
    points = tuple((row["success at this budget alone"], row["realism"][measure]) for row in rows)
    return Curve(rows[0]["contender"], points, dashed=rows[0]["kind"] == "noise")


def _transfer(results: Json, level: float) -> str:
    rows = [row for row in results["matrices"] if row["level"] == level and not row["contender"].startswith("random")]
    matrices = []
    for row in rows:
        surrogates, victims = tuple(row["fooled"]), tuple(next(iter(row["fooled"].values())))
        values = tuple(tuple(row["fooled"][one][other] for other in victims) for one in surrogates)
        short = tuple(victim.replace("residual", "res").replace("mobile", "mob") for victim in victims)
        matrices.append(Matrix(f"{row['contender']}, {row['set']}", surrogates, short, values))
    return matrices_figure(
        f"Images fooled, in %, where {100 * level:.0f} % fool the network that the attack sees",
        "rows: the network that the attack sees; columns: the network that is shown the images; –: not reached",
        matrices,
        columns=len(dict.fromkeys(row["contender"] for row in rows)) // 2,
    )
