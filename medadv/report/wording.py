"""How numbers, budgets and attacks are put into words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import exp, floor, log
from typing import Any

REJECTED = "rejected"  # what a detector's answer is called
THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True)
class Wording:
    """How one family of attacks is spoken of.

    Args:
        title: name of the attack.
        subject: the attack as the subject of a sentence.
        axis: what its budget is, with the unit.
        unit: of the budget, a key of `_UNITS`.
        change: what the "change" panel shows: "gain" (factor; stored as its logarithm) or "difference".
        norm: "linf", "l2" or "l1" where the budget is a radius, else None.
        scale: width of the intensity range in image units, where noise is counted in them; 1 where in fractions.
    """

    title: str
    subject: str
    axis: str
    unit: str = "number"
    change: str = "difference"
    norm: str | None = None
    scale: float = 1.0

    @property
    def identity(self) -> float:
        """The budget that changes nothing."""
        return _UNITS[self.unit].identity

    def budget(self, value: float) -> str:
        """A budget or a distance, with its unit, as short as in a table.

        >>> wording_of("pgd", {"norm": "linf"}).budget(4 / 255)
        '4/255'
        >>> wording_of("bias-field", {}).budget(1.3)
        '×1.30'
        """
        if self.in_units:
            return f"{value * self.scale:.4g}"
        return _UNITS[self.unit].short(value)

    @property
    def in_units(self) -> bool:
        """Whether budgets are told in units of the image."""
        return self.unit == "fraction" and self.scale != 1

    def budget_in_full(self, value: float) -> str:
        """A budget as it stands in a sentence.

        >>> wording_of("pgd", {"norm": "linf"}).budget_in_full(4 / 255)
        '4/255 of the intensity range'
        >>> wording_of("deformation", {}).budget_in_full(1.5)
        'a displacement of 1.5 voxels'
        >>> wording_of("deformation", {}).budget_in_full(1.0)
        'a displacement of 1 voxel'
        >>> wording_of("pgd", {"norm": "linf"}, scale=4095).budget_in_full(10 / 4095)
        '10 of the 4095 units of the intensity range'
        """
        width = "1" if self.scale == 1 else f"{self.scale:g} units"
        if self.norm in ("l2", "l1"):
            return f"an {_NORMS[self.norm]} norm of {self.budget(value)} (the intensity range is {width})"
        if self.in_units:
            return f"{self.budget(value)} of the {width} of the intensity range"
        return _UNITS[self.unit].full(value)

    def largest_change(self, budget: float) -> float:
        """The largest value that the budget allows in the "change" panel; 0 where it sets none per pixel."""
        if self.change == "gain":
            return log(budget)
        return budget * self.scale if self.norm == "linf" else 0.0

    def change_value(self, value: float) -> str:
        """A value of the "change" panel, for its colour bar."""
        if self.change == "gain":
            return gain(exp(value))
        sign = "" if value == 0 else "+" if value > 0 else "−"
        return sign + (fraction(abs(value)) if self.scale == 1 else f"{abs(value):.3g}")


def wording_of(
    attack: str,
    configuration: Mapping[str, Any],
    budget_field: str | None = "",
    norm: str | None = None,
    scale: float = 1.0,
) -> Wording:
    """The wording of an attack.

    Args:
        attack: its name, such as "pgd", where the configuration does not have one.
        configuration: what it was called with.
        budget_field: the field that is its budget; None where it looks for the smallest change; "" where that is not
            known.
        norm: of its noise.
        scale: width of the intensity range in image units, where it is not 1.

    Returns:
        The wording; a plain one for a name that is not known here.

    >>> wording_of("pgd", {"norm": "l2"}).title
    'PGD (L2)'
    >>> wording_of("ddn", {}, None, "l2").title
    'DDN (L2)'
    """
    name = str(configuration.get("name", attack))
    made_on = "Transferred " if "surrogate" in configuration else ""
    title = _TITLES.get(name, name if budget_field == "" else name.capitalize())
    norm = norm or configuration.get("norm") or ("linf" if name == "pgd" else None)
    if norm in _NORMS and (budget_field in ("eps", None) or name == "pgd"):
        counted = "fraction of the intensity range" if scale == 1 else "units of the intensity range"
        counted = "changed entries" if norm == "l0" else counted
        what = "smallest change" if budget_field is None else "noise budget"
        radius = f"{_NORMS[norm]} norm" if budget_field is None else f"{_NORMS[norm]} radius"
        return Wording(
            f"{made_on}{title} ({_NORMS[norm]})",
            f"{made_on.lower()}{title.removesuffix(' noise')} noise",
            f"{what}, {radius}, {counted}",
            "number" if norm == "l0" else "fraction",
            norm=norm,
            scale=scale,
        )
    known = _WORDINGS.get(name)
    if known is None:
        # What is made small is named like the budget of other attacks, such as "displacement".
        counted = budget_field or norm or "budget"
        axis = f"smallest change, {counted}" if budget_field is None else counted
        known = Wording(title, f"the attack {name}", axis, _UNIT_OF_FIELD.get(counted, "number"))
    plain = replace(known, scale=scale if known.change == "difference" else 1.0)
    return replace(plain, title=made_on + known.title, subject=made_on.lower() + known.subject) if made_on else plain


@dataclass(frozen=True)
class _Unit:
    identity: float
    short: Callable[[float], str]
    full: Callable[[float], str]


def percent(value: float) -> str:
    """A proportion in per cent; never rounded to 0 or 100 when it is not.

    >>> [percent(p).replace(THIN_SPACE, " ") for p in (0, 0.001, 0.414, 0.998, 1)]
    ['0 %', '0.1 %', '41 %', '99.8 %', '100 %']
    """
    return percent_number(value) + THIN_SPACE + "%"


def percent_number(value: float) -> str:
    """As `percent`, without the sign.

    >>> percent_number(0.00001), percent_number(13 / 40), percent_number(23 / 40)
    ('<0.1', '33', '58')
    """
    whole = _nearest(100 * value)
    if whole not in (0, 100) or value in (0, 1):
        return str(whole)
    tenths = _nearest(1000 * value)
    if tenths == 0:
        return "<0.1"
    if tenths == 1000:
        return ">99.9"
    return f"{tenths / 10:.1f}"


def _nearest(value: float) -> int:
    """The nearest whole number, halves up: 100 * (23 / 40) is a little below 57.5, and `round` takes 32.5 to 32."""
    return floor(value + 0.5 + 1e-9)


def fraction(value: float) -> str:
    """A fraction of the intensity range: in 255ths where it is near a whole number of them.

    >>> [fraction(f) for f in (0, 8 / 255, 0.0125, 1.0, 0.5)]
    ['0', '8/255', '0.0125', '1', '0.5']
    """
    steps = value * 255
    if 0 < round(steps) < 100 and abs(steps - round(steps)) < 1e-3:
        return f"{round(steps)}/255"
    return f"{value:.3g}"


def gain(value: float) -> str:
    """A factor on the intensity.

    >>> [gain(g) for g in (1.3, 1 / 1.3, 1.005)]
    ['×1.30', '×0.77', '×1.005']
    """
    return f"×{value:.3f}" if 0 < abs(value - 1) < 0.01 else f"×{value:.2f}"


def count(value: float) -> str:
    """A whole number in groups of three digits.

    >>> count(1234567).replace(THIN_SPACE, " ")
    '1 234 567'
    """
    return f"{round(value):,}".replace(",", THIN_SPACE)


def mean_count(value: float) -> str:
    """A mean of counts: one decimal below 100.

    >>> mean_count(20.25), mean_count(3)
    ('20.2', '3.0')
    """
    return f"{value:.1f}" if value < 100 else count(value)


def class_name(label: int | str, names: list[str]) -> str:
    """Name of a class; its number where the data names none. Findings are a text already.

    >>> class_name(1, ["clear", "opacity"]), class_name(7, []), class_name("Effusion|Mass", [])
    ('opacity', 'class 7', 'Effusion, Mass')
    """
    if isinstance(label, str):
        return label.replace("|", ", ")
    return names[label] if 0 <= label < len(names) else f"class {label}"


def advice(check: str) -> str:
    """What to do, or to think, about a trust check that failed.

    Args:
        check: its number.

    Returns:
        One sentence; nothing for a check that is not known here.

    >>> advice("C9")
    'Raise the steps or the restarts.'
    """
    return _ADVICE.get(check, "")


def moment(text: str) -> str:
    """A time of ISO 8601 in UTC as people write it; any other text as it is.

    >>> moment("2026-11-22T08:00:00+00:00")
    '2026-11-22 08:00:00 UTC'
    """
    return text.replace("+00:00", " UTC").replace("T", " ", 1) if text.endswith("+00:00") else text


_ADVICE = {
    "C1": "Take the softmax out of the model.",
    "C2": "The model draws random numbers: gradients and answers must be averaged over many draws, as "
    "RandomisedVictim and Gradient(samples=...) do.",
    "C3": "The attack cannot see where to go, which is not robustness: make the margin its objective, and replace what "
    "rounds.",
    "C4": "The model searches while it answers: an attack must be differentiated through that search, or attack it.",
    "C5": "Make the margin the objective, which suits all tasks; one with a goal does not measure robust accuracy.",
    "C6": "The attack is weaker than a search without gradients: raise the steps or the restarts, or make the "
    "margin its objective.",
    "C7": "The search does not work on this model: raise the steps, or change their size.",
    "C8": "Choose larger budgets, until accuracy falls to that of guessing; where it does not, the attack is blind. "
    "Where a budget breaks what withstands a larger one, --curve rising attacks each image until it breaks.",
    "C9": "Raise the steps or the restarts.",
    "C10": "The stored results contradict each other.",
    "C11": "The stored results contradict each other.",
    "C12": "This is a defect of medadv: please report it.",
    "C13": "Successes hang on rounding: count them again on the images as they will be saved.",
    "C14": "The attack is no better than noise.",
    "C15": "Gradients are masked: an attack that may change everything must succeed.",
    "C16": "The attack misses what is known to be there: raise the restarts, make the margin its objective, or "
    "use another attack.",
    "C17": "A part of the model is hidden from the gradient: attack it with a differentiable stand-in, or without "
    "gradients.",
    "C18": "The attack came to an early or a wrong end: look at its step size, its steps and its gradients.",
    "C19": "The stored results do not belong to this model and these images.",
    "C20": "The stored results contradict each other.",
}

_UNITS = {
    "number": _Unit(0.0, lambda v: f"{v:.3g}", lambda v: f"a budget of {v:.3g}"),
    "fraction": _Unit(0.0, fraction, lambda v: f"{fraction(v)} of the intensity range"),
    "gain": _Unit(1.0, gain, lambda v: f"a gain of {v:.4g}"),
    "voxels": _Unit(
        0.0, lambda v: f"{v:.3g}{THIN_SPACE}vx", lambda v: f"a displacement of {v:.3g} voxel{'s' * (v != 1)}"
    ),
    "strength": _Unit(0.0, percent, lambda v: f"{percent(v)} of every limit"),
    "gamma": _Unit(1.0, lambda v: f"γ{THIN_SPACE}{v:.3g}", lambda v: f"a gamma of {v:.4g}"),
    "levels": _Unit(0.0, lambda v: f"{v:.3g}/255", lambda v: f"steps of {v:.3g}/255 of the intensity range"),
}

_NORMS = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0"}

_TITLES = {
    "pgd": "PGD",
    "fgsm": "FGSM",
    "bim": "BIM",
    "mi-fgsm": "MI-FGSM",
    "ni-fgsm": "NI-FGSM",
    "si-ni-fgsm": "SI-NI-FGSM",
    "di-fgsm": "DI-FGSM",
    "ti-fgsm": "TI-FGSM",
    "vmi-fgsm": "VMI-FGSM",
    "apgd": "APGD",
    "auto-attack": "AutoAttack",
    "random-noise": "Random noise",
    "deepfool": "DeepFool",
    "carlini-wagner": "Carlini-Wagner",
    "ddn": "DDN",
    "fmn": "FMN",
    "fab": "FAB",
    "hop-skip-jump": "HopSkipJump",
    "adef": "ADef",
}

_UNIT_OF_FIELD = {
    "eps": "fraction",
    "gain": "gain",
    "displacement": "voxels",
    "strength": "strength",
    "gamma": "gamma",
    "step": "levels",
}

_WORDINGS = {
    "bias-field": Wording("Bias field", "the bias field", "largest gain of the bias field", "gain", "gain"),
    "smooth-bias-field": Wording(
        "Adversarial-smooth bias field", "the polynomial bias field", "largest gain of the bias field", "gain", "gain"
    ),
    "deformation": Wording("Deformation", "the deformation", "largest displacement, voxels", "voxels"),
    "flow": Wording("Flow", "the flow of single voxels", "largest displacement, voxels", "voxels"),
    "affine": Wording("Affine motion", "the affine motion", "share of the limits of the motion", "strength"),
    "intensity": Wording("Intensity curve", "the intensity curve", "largest gamma", "gamma"),
    "frequency": Wording(
        "Frequency", "rounding of frequencies", "largest step, 1/255 of the intensity range", "levels"
    ),
    "chain": Wording("Chain", "the chain of perturbations", "share of every budget", "strength"),
}
