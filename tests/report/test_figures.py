"""The curve: every mark where its number belongs."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from medadv.report.figures import BOTTOM, HEIGHT, TOP, WIDTH, accuracy_curve
from medadv.report.results import read_results
from medadv.report.wording import percent


@pytest.fixture(scope="module")
def results(store):
    return read_results(store)


def draw(results, place):
    return ET.fromstring(accuracy_curve(results.series[place], results.clean))


def value_at(y):
    return 1 - (y - TOP) / (HEIGHT - TOP - BOTTOM)


@pytest.mark.parametrize(("place", "attack", "identity"), [(0, "pgd", 0.0), (1, "bias-field", 1.0)])
def test_marks_and_whiskers_are_where_the_numbers_are(results, place, attack, identity, made):
    svg = draw(results, place)
    marks = svg.findall("g")
    rates = [results.clean, *(point.robust for point in results.series[place].points)]
    budgets = np.array([identity, *made.BUDGETS[attack]])
    assert len(marks) == len(rates) == 5
    xs = []
    for mark, rate in zip(marks, rates, strict=True):
        circle = mark.find("circle")
        xs.append(float(circle.get("cx")))
        assert abs(value_at(float(circle.get("cy"))) - rate.value) < 1e-3
        top, bottom = mark.find("path").get("d").split("M")[1].split(" ")[1].split("V")
        assert abs(value_at(float(top)) - rate.high) < 1e-3
        assert abs(value_at(float(bottom)) - rate.low) < 1e-3
        assert f"{rate.count} of {rate.total}" in mark.find("title").text
    shares = (budgets - identity) / (budgets[-1] - identity)
    np.testing.assert_allclose((np.array(xs) - xs[0]) / (xs[-1] - xs[0]), shares, atol=1e-3)
    assert "hollow" in marks[0].find("circle").get("class")


def test_figure_says_its_numbers_to_a_screen_reader(results):
    svg = draw(results, 0)
    assert svg.get("role") == "img"
    for point in results.series[0].points:
        assert percent(point.robust.value) in svg.get("aria-label")


def test_labels_do_not_touch_nor_leave_the_figure(results):
    for place in (0, 1):
        svg = draw(results, place)
        ticks = [one for one in svg.findall("text") if one.get("class") == "tick"]
        ticks = [one for one in ticks if one.get("text-anchor") == "middle"]
        spans = [(float(t.get("x")) - 3.6 * len(t.text), float(t.get("x")) + 3.6 * len(t.text)) for t in ticks]
        assert len(spans) >= 4
        assert all(before[1] < after[0] for before, after in pairwise(spans))
        assert spans[0][0] > 0
        assert spans[-1][1] < WIDTH


def test_crowded_budgets_drop_labels_but_no_marks(results):
    points = tuple(replace(results.series[0].points[0], budget=k / 255) for k in (*range(1, 9), 200))
    svg = ET.fromstring(accuracy_curve(replace(results.series[0], points=points), results.clean))
    assert len(svg.findall("g")) == 10
    assert 2 <= len(svg.findall("g/text")) < 6
