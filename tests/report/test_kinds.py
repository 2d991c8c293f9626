"""Attacks that look for the smallest change, findings, volumes and other units in the report."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest

from medadv.report import write_report
from medadv.report.figures import BOTTOM, HEIGHT, TOP, accuracy_curve
from medadv.report.results import Distances, Rate, read_results
from medadv.report.wording import THIN_SPACE, wording_of
from medadv.report.write import _units
from medadv.sweep.store import Store
from medadv.sweep.unit import Unit

COUNT = 40
BUDGETS = (0.25, 0.5, 1.0)
DISTANCE = np.round(np.random.default_rng(0).gamma(2.0, 0.3, COUNT), 3)
WRONG = np.arange(COUNT) % 8 == 5
NEVER = ~WRONG & (np.arange(COUNT) % 10 == 2)
STATUS = np.where(WRONG, "already wrong", np.where(NEVER, "failed", "success"))
FOUND = np.sort(DISTANCE[STATUS == "success"])


def columns(status, distance, labels):
    passed = np.array(status) == "success"
    answers = [f"{label}|Nodule" if broken else label for label, broken in zip(labels, passed, strict=True)]
    return {
        "example": np.arange(COUNT),
        "name": [f"{number}.nii.gz" for number in range(COUNT)],
        "label": labels,
        "clean_prediction": labels,
        "prediction": answers,
        "status": list(status),
        "loss": np.zeros(COUNT, np.float32),
        "distance": np.where(passed, distance, 0.0),
        "step": np.zeros(COUNT, np.int64),
        "forwards": np.full(COUNT, 30),
        "backwards": np.full(COUNT, 10),
    }


def volumes_store(path, bounds=(0.0, 1.0)):
    """DDN on volumes with findings: one search, three budgets."""
    labels = ["Effusion|Mass" if number % 2 else "Effusion" for number in range(COUNT)]
    described = {
        "attack": "ddn:steps=9",
        "configuration": {"name": "ddn", "steps": 9, "gamma": 0.05},
        "budget_field": None,
        "norm": "l2",
        "seed": 0,
        "first": 0,
    }
    search = Unit("search", described)
    units = {budget: Unit("attack", {**described, "budget": budget, "search": search.id}) for budget in BUDGETS}
    plan = {
        "medadv": "0.1.0",
        "created": "2026-11-22T08:00:00+00:00",
        "model": {"source": "x", "sha256": "ab" * 32, "task": "multilabel"},
        "data": {
            "path": "scans",
            "sha256": "cd" * 32,
            "class_names": ["Effusion", "Mass", "Nodule"],
            "shape": [1, 6, 8, 8],
            "bounds": list(bounds),
        },
        "units": [search.id, *(unit.id for unit in units.values())],
    }
    store = Store.create(path, plan)
    store.commit(search, columns(STATUS, DISTANCE, labels))
    low, high = bounds
    clean = np.linspace(low, high, 64, dtype=np.float32).reshape(1, 1, 8, 8).repeat(2, axis=0)
    for budget, unit in units.items():
        status = np.where((STATUS == "success") & (budget < DISTANCE), "failed", STATUS)
        change = np.full_like(clean, 0.01 * (high - low))
        panels = {
            "examples": np.flatnonzero(STATUS == "success")[:2],
            "slices": np.array([2, 4]),
            "clean": clean,
            "adversarial": np.clip(clean + change, low, high).astype(np.float32),
            "change": change,
        }
        store.commit(unit, columns(status, DISTANCE, labels), panels)
    return store


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    return volumes_store(tmp_path_factory.mktemp("kinds") / "sweep")


@pytest.fixture(scope="module")
def page(volumes, tmp_path_factory):
    return unescape(write_report(volumes, tmp_path_factory.mktemp("page") / "r.html").read_text())


def test_distances_are_those_of_the_search(volumes):
    (series,) = read_results(volumes).series
    assert series.title == "DDN (L2)"
    assert series.distances == Distances(int((~WRONG).sum()), tuple(FOUND.tolist()))
    assert series.configuration == {"steps": 9, "gamma": 0.05}
    for point, budget in zip(series.points, BUDGETS, strict=True):
        robust = (NEVER | ((STATUS == "success") & (budget < DISTANCE))).sum()
        assert point.robust == Rate(int(robust), COUNT)


def test_quantiles_count_those_that_were_never_fooled():
    distances = Distances(5, (0.1, 0.2, 0.4))
    shares = (0.1, 0.2, 0.21, 0.5, 0.6, 0.61, 1.0)
    assert [distances.quantile(share) for share in shares] == [0.1, 0.1, 0.2, 0.4, 0.4, None, None]
    assert Distances(0, ()).quantile(0.5) is None


def test_passes_of_a_search_are_counted_once(volumes):
    results = read_results(volumes)
    assert (results.forwards, results.backwards) == (30 * COUNT, 10 * COUNT)
    assert results.series[0].points[2].forwards == 30


def test_passes_of_rows_that_were_kept_are_counted_once(store, made):
    results = read_results(store)
    forwards = backwards = 0
    for attack, budgets in made.BUDGETS.items():
        attacked = np.ones(made.COUNT, bool)
        for budget in budgets:
            rows = made.attack_columns(attack, budget, 0, made.COUNT)
            forwards += int(rows["forwards"][attacked].sum())
            backwards += int(rows["backwards"][attacked].sum())
            attacked = np.array(rows["status"]) == "failed"
    assert (results.forwards, results.backwards) == (forwards, backwards)


def test_the_curve_falls_at_every_distance(volumes):
    results = read_results(volumes)
    (series,) = results.series
    svg = ET.fromstring(accuracy_curve(series, results.clean))
    points = [tuple(map(float, pair.split(","))) for pair in svg.find("polyline").get("points").split()]
    marks = [float(mark.find("circle").get("cx")) for mark in svg.findall("g") if mark.find("circle") is not None]
    # No attack, and the budgets: they give the scale of the axis.
    per_unit = (marks[3] - marks[0]) / BUDGETS[2]
    steps = (len(points) - 2) // 2
    assert steps >= 0.9 * len(FOUND)
    for number, distance in enumerate(FOUND[:steps], start=1):
        (x, y), (before_x, _) = points[2 * number], points[2 * number - 1]
        assert x == before_x == pytest.approx(marks[0] + per_unit * distance, abs=0.2)
        value = 1 - (y - TOP) / (HEIGHT - TOP - BOTTOM)
        assert value == pytest.approx((results.clean.count - number) / COUNT, abs=1e-3)
    (median,) = [mark.find("line") for mark in svg.findall("g") if mark.find("line") is not None]
    expected = marks[0] + per_unit * series.distances.quantile(0.5)
    assert float(median.get("x1")) == pytest.approx(expected, abs=0.2)


def test_many_distances_make_no_large_figure(volumes):
    results = read_results(volumes)
    many = Distances(100_000, tuple(np.linspace(0.01, 0.9, 100_000).tolist()))
    svg = accuracy_curve(replace(results.series[0], distances=many), Rate(100_000, 100_000))
    assert len(svg) < 40_000


def test_table_sentence_and_json(page):
    right = int((~WRONG).sum())
    median = FOUND[int(np.ceil(0.5 * right)) - 1]
    assert f"DDN (L2) fools {len(FOUND)} of the {right} images that are right at first; for half" in page
    assert f"an L2 norm of {median:.3g} (the intensity range is 1) suffices." in page
    assert f'<td class="right">{len(FOUND)} of {right}</td>' in page
    data = json.loads(page.split('id="results-json">')[1].split("</pre>")[0])
    assert data["smallest_changes"][0]["quantiles"]["0.5"] == median
    assert data["smallest_changes"][0]["fooled"] == len(FOUND)


def test_findings_and_slices_in_panels(page):
    assert "An image counts as right only if all 3 findings are" in page
    assert "slice 3 of 6, where most changed" in page or "slice 5 of 6, where most changed" in page
    assert "<strong>Effusion, Nodule</strong>" in page or "<strong>Effusion, Mass, Nodule</strong>" in page


def test_other_units(tmp_path):
    store = volumes_store(tmp_path / "ct", (-1024.0, 3071.0))
    page = unescape(write_report(store, tmp_path / "r.html").read_text())
    assert "units of the image, whose range is -1024 to 3071" in page
    assert "smallest change, L2 norm, units of the intensity range" in page
    assert ">1024</td>" in page
    low, high = np.percentile(np.linspace(-1024, 3071, 64), (0.5, 99.5))
    assert f"black {low:.4g}, white {high:.4g}" in page
    assert "difference of intensity, units of the image" in page
    assert "<span>−41</span>" in page
    assert "(the intensity range is 4095 units)" in page


@pytest.mark.parametrize(
    ("arguments", "title", "short", "full"),
    [
        (("square", {"name": "square"}, "eps", "l2"), "Square (L2)", "0.5", "an L2 norm of 0.5 (the"),
        (("x", {"name": "mi-fgsm", "surrogate": "s"}, "eps", "linf"), "Transferred MI-FGSM (L∞)", "0.5", "0.5 of the"),
        (
            ("x", {"name": "affine", "surrogate": "s"}, "strength"),
            "Transferred Affine motion",
            "50 %",
            "of every limit",
        ),
        (("fmn", {"name": "fmn"}, None, "l0"), "FMN (L0)", "0.5", "a budget of 0.5"),
        (("adef", {"name": "adef"}, None, "displacement"), "ADef", "0.5 vx", "a displacement of 0.5 voxels"),
        (("new-one", {"name": "new-one"}, "gain", None), "New-one", "×0.50", "a gain of 0.5"),
    ],
)
def test_wording_of_attacks_that_no_table_knows(arguments, title, short, full):
    wording = wording_of(*arguments)
    assert wording.title == title
    assert wording.budget(0.5).replace(THIN_SPACE, " ") == short
    assert full in wording.budget_in_full(0.5)


def test_shares_and_steps_are_explained():
    wordings = [wording_of("affine", {}, "strength"), wording_of("frequency", {}, "step")]
    told = _units(SimpleNamespace(series=[SimpleNamespace(wording=wording) for wording in wordings]), [0, 1])
    assert told[0].startswith("A share of 50 % allows half of each limit")
    assert told[1].startswith("Coefficients of the cosine transform are rounded")


def test_noise_in_units_of_the_image():
    wording = wording_of("pgd", {"name": "pgd"}, "eps", "linf", scale=4095.0)
    assert wording.budget(10 / 4095) == "10"
    assert wording.largest_change(10 / 4095) == pytest.approx(10)
    assert wording.change_value(-10.0) == "−10"
    assert wording.axis == "noise budget, L∞ radius, units of the intensity range"
