"""The numbers of a report, from the rows of a store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, isnan
from typing import Any

from medadv.metrics import wilson
from medadv.report.wording import REJECTED, Wording, wording_of
from medadv.sweep.circumstances import told_apart
from medadv.sweep.store import Receipt, Store
from medadv.sweep.unit import canonical_json

_BUDGET_NAMES = {"eps", "gain", "displacement", "strength", "gamma", "step"}


@dataclass(frozen=True)
class Rate:
    """A proportion of counted examples, with its Wilson 95 % interval.

    >>> rate = Rate(8, 10)
    >>> rate.value, round(rate.low, 3), round(rate.high, 3)
    (0.8, 0.49, 0.943)
    """

    count: int
    total: int

    @property
    def value(self) -> float:
        """The proportion; NaN of nothing."""
        return self.count / self.total if self.total else float("nan")

    @property
    def low(self) -> float:
        """Lower end of the interval; 0 of nothing."""
        return wilson(self.count, self.total)[0] if self.total else 0.0

    @property
    def high(self) -> float:
        """Upper end of the interval; 1 of nothing."""
        return wilson(self.count, self.total)[1] if self.total else 1.0


@dataclass(frozen=True)
class Point:
    """One attack at one budget, over all examples.

    Args:
        budget: in the attack's own units.
        robust: correct without and with the attack, of all examples.
        success: fooled, of those that were correct at first.
        median_distance: of the successes, in the units of the budget; None without a success.
        forwards, backwards: mean number of passes per example.
    """

    budget: float
    robust: Rate
    success: Rate
    median_distance: float | None
    forwards: float
    backwards: float


@dataclass(frozen=True)
class Distances:
    """The smallest changes that an attack found, over the examples that were right at first.

    Args:
        right: how many those are.
        found: rising, of those that were fooled.

    >>> Distances(4, (0.25, 0.5, 1.0)).quantile(0.5), Distances(4, (0.25, 0.5, 1.0)).quantile(1.0)
    (0.5, None)
    """

    right: int
    found: tuple[float, ...]

    def quantile(self, share: float) -> float | None:
        """The distance that suffices for this share of the right examples, above 0 to 1; None where none was found."""
        place = ceil(share * self.right) - 1
        return self.found[place] if 0 <= place < len(self.found) else None


@dataclass(frozen=True)
class Series:
    """One attack at all its budgets.

    Args:
        title: unique in the report.
        wording: how it is spoken of.
        configuration: what its units have in common, without budget and seed.
        points: ascending budgets.
        units: budget to its receipts, in the order of their examples.
        curve: how the budgets were run: "rising" or "falling"; "read off" where the smallest change was looked for.
        distances: of an attack that looks for the smallest change; None of one with a budget.
    """

    title: str
    wording: Wording
    configuration: dict[str, Any]
    points: tuple[Point, ...]
    units: dict[float, list[Receipt]]
    curve: str = "rising"
    distances: Distances | None = None


@dataclass(frozen=True)
class Check:
    """One trust check and how it went: outcome "passed", "failed" or "not run"."""

    number: str
    title: str
    outcome: str
    sentence: str


@dataclass(frozen=True)
class Results:
    """Everything that the report counts.

    Args:
        clean: correct without attack, of all examples.
        series: one per attack.
        worst: robust against every attack at its largest budget, of the examples that met them all.
        rejected: clean images that the detector rejects, of all examples; None where the model has none.
        checks: in the order of their numbers.
        forwards, backwards: passes of single images through the model, in all.
        missing: planned units that are not committed.
        planned: planned units.
        circumstances: in what those differ in which units were computed, one sentence; empty where in nothing.
    """

    clean: Rate
    series: tuple[Series, ...]
    worst: Rate
    rejected: Rate | None
    checks: tuple[Check, ...]
    forwards: int
    backwards: int
    missing: int
    planned: int
    circumstances: str = ""


def read_results(store: Store) -> Results:
    """Count what a store holds.

    Args:
        store: with at least one committed unit of kind "attack".

    Returns:
        The counts.

    Raises:
        StoreDamaged: a file of the store is not what was written.
        ValueError: no attack is committed.
    """
    groups = _group(store.receipts("attack"), [entry["name"] for entry in store.plan.get("attacks", [])])
    members = _members(groups)
    if not members:
        raise ValueError(f"write_report: store must hold at least one finished attack, got {store.path}")
    # Of several seeds the worst counts, example by example.
    by_example = f"""
        WITH member(unit, series) AS (VALUES {members}),
        by_example AS (
            SELECT series, budget, example,
                bool_and(status = 'failed') AS robust,
                bool_or(status = 'already wrong') AS wrong,
                min(distance) FILTER (status = 'success') AS distance,
                sum(forwards) AS forwards, sum(backwards) AS backwards
            FROM rows JOIN units USING (unit) JOIN member USING (unit)
            GROUP BY series, budget, example
        )"""
    points = store.query(
        f"""{by_example}
        SELECT series, budget, count(*) AS examples, count_if(robust) AS robust,
            count_if(NOT wrong) AS correct, median(distance) AS distance,
            avg(forwards) AS forwards, avg(backwards) AS backwards
        FROM by_example GROUP BY series, budget ORDER BY series, budget""",
        kind="attack",
    )
    # Where budgets rise, an example that broke keeps its result, passes included, at larger ones, and the smallest
    # change is looked for once: those passes were made once. Where budgets fall, passes are told where they were made.
    read_off = _numbers(index for index, group in enumerate(groups) if "search" in group[0].unit.fields)
    falling = _numbers(index for index, group in enumerate(groups) if group[0].unit.fields.get("curve") == "falling")
    totals = store.query(
        f"""{by_example},
        passes AS (
            SELECT series, forwards, backwards,
                lag(status) OVER (PARTITION BY series, seed, example ORDER BY budget) AS before
            FROM rows JOIN units USING (unit) JOIN member USING (unit)
        ),
        made AS (
            SELECT * FROM passes WHERE before IS NULL OR (before = 'failed' AND series NOT IN ({read_off}))
                OR series IN ({falling})
        ),
        clean AS (SELECT bool_or(wrong) AS wrong FROM by_example GROUP BY example),
        largest AS (SELECT series, max(budget) AS budget FROM by_example GROUP BY series),
        worst AS (
            SELECT bool_and(robust) AS robust FROM by_example JOIN largest USING (series, budget)
            GROUP BY example HAVING count(*) = {len(groups)}
        )
        SELECT (SELECT count(*) FROM clean) AS examples, (SELECT count_if(NOT wrong) FROM clean) AS correct,
            (SELECT count(*) FROM worst) AS met, (SELECT count_if(robust) FROM worst) AS robust,
            (SELECT sum(forwards) FROM made) AS forwards, (SELECT sum(backwards) FROM made) AS backwards""",
        kind="attack",
    )
    planned = set(store.plan.get("units", []))
    return Results(
        clean=Rate(int(totals["correct"][0]), int(totals["examples"][0])),
        series=_series(store, groups, points),
        worst=Rate(int(totals["robust"][0]), int(totals["met"][0])),
        rejected=_rejected(store),
        checks=_checks(store),
        forwards=int(totals["forwards"][0]),
        backwards=int(totals["backwards"][0]),
        missing=len(planned - store.done()),
        planned=len(planned),
        circumstances=told_apart(store.receipts()),
    )


def _rejected(store: Store) -> Rate | None:
    rejection = store.plan.get("model", {}).get("rejection")
    if rejection is None:
        return None
    table = store.query("SELECT DISTINCT example, clean_prediction FROM rows", kind="attack")
    answers = table["clean_prediction"].tolist()
    rejected = [answer in (rejection, REJECTED) for answer in answers]
    return Rate(sum(rejected), len(rejected))


def _members(groups: list[list[Receipt]]) -> str:
    """SQL rows of every unit and the number of its group."""
    return ", ".join(f"('{receipt.unit.id}', {index})" for index, group in enumerate(groups) for receipt in group)


def _numbers(indices: Iterable[int]) -> str:
    """Indices for SQL's IN, which takes no empty list."""
    return ", ".join(map(str, [-1, *indices]))


def _group(receipts: list[Receipt], planned: list[str]) -> list[list[Receipt]]:
    """Units that differ in budget, seed and shard only belong together, in the order of the planned attacks."""
    groups: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        groups.setdefault(_key(receipt), []).append(receipt)
    order = {name: number for number, name in enumerate(planned)}
    return [
        sorted(groups[key], key=lambda receipt: (receipt.unit.fields["budget"], receipt.unit.fields["first"]))
        for key in sorted(groups, key=lambda key: (order.get(_attack(groups[key]), len(order)), key))
    ]


def _key(receipt: Receipt) -> str:
    return canonical_json([receipt.unit.fields["attack"], _common(receipt)])


def _attack(group: list[Receipt]) -> str:
    return str(group[0].unit.fields["attack"])


def _common(receipt: Receipt) -> dict[str, Any]:
    """The configuration without what the units of a series differ in."""
    fields = receipt.unit.fields
    budget_names = {fields["budget_field"]} if "budget_field" in fields else _BUDGET_NAMES
    left_out = {"seed", *budget_names}
    return {name: value for name, value in fields["configuration"].items() if name not in left_out}


def _series(store: Store, groups: list[list[Receipt]], points: dict[str, Any]) -> tuple[Series, ...]:
    found = []
    titles: dict[str, int] = {}
    distances = _distances(store)
    low, high = store.plan.get("data", {}).get("bounds", (0.0, 1.0))
    for index, group in enumerate(groups):
        fields, configuration = group[0].unit.fields, _common(group[0])
        wording = wording_of(
            _attack(group), configuration, fields.get("budget_field", ""), fields.get("norm"), scale=high - low
        )
        configuration.pop("name", None)
        titles[wording.title] = titles.get(wording.title, 0) + 1
        number = titles[wording.title]
        units: dict[float, list[Receipt]] = {}
        for receipt in group:
            units.setdefault(float(receipt.unit.fields["budget"]), []).append(receipt)
        found.append(
            Series(
                title=wording.title if number == 1 else f"{wording.title}, configuration {number}",
                wording=wording,
                configuration=configuration,
                points=tuple(_point(points, row) for row in (points["series"] == index).nonzero()[0]),
                units=units,
                curve=str(fields.get("curve", "rising")),
                distances=distances.get(_key(group[0])),
            )
        )
    return tuple(found)


def _distances(store: Store) -> dict[str, Distances]:
    """The smallest changes, by the key of their series; of several seeds the smallest of an example counts."""
    receipts = store.receipts("search")
    if not receipts:
        return {}
    keys = sorted({_key(receipt) for receipt in receipts})
    groups = [[receipt for receipt in receipts if _key(receipt) == key] for key in keys]
    table = store.query(
        f"""WITH member(unit, series) AS (VALUES {_members(groups)})
        SELECT series, example, bool_or(status = 'already wrong') AS wrong,
            min(distance) FILTER (status = 'success') AS distance
        FROM rows JOIN member USING (unit) GROUP BY series, example ORDER BY distance""",
        kind="search",
    )
    found = {}
    for index, key in enumerate(keys):
        rows = (table["series"] == index) & ~table["wrong"].astype(bool)
        distances = table["distance"][rows]
        found[key] = Distances(int(rows.sum()), tuple(float(value) for value in distances if not isnan(value)))
    return found


def _point(points: dict[str, Any], row: int) -> Point:
    examples, robust, correct = (int(points[name][row]) for name in ("examples", "robust", "correct"))
    distance = float(points["distance"][row])
    return Point(
        budget=float(points["budget"][row]),
        robust=Rate(robust, examples),
        success=Rate(correct - robust, correct),
        median_distance=None if isnan(distance) else distance,
        forwards=float(points["forwards"][row]),
        backwards=float(points["backwards"][row]),
    )


def _checks(store: Store) -> tuple[Check, ...]:
    if not store.receipts("check"):
        return ()
    rows = store.query('SELECT DISTINCT "check", title, outcome, sentence FROM rows', kind="check")
    checks = [
        Check(*map(str, row))
        for row in zip(rows["check"], rows["title"], rows["outcome"], rows["sentence"], strict=True)
    ]
    return tuple(sorted(checks, key=lambda check: (_number(check), check.outcome, check.sentence)))


def _number(check: Check) -> tuple[int, str]:
    digits = check.number[1:]
    return (int(digits) if digits.isdecimal() else 10**6, check.number)
