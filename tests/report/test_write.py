"""The report as a file: self-contained, escaped, complete, honest."""

import json
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from medadv.report import write_report
from medadv.report.results import read_results
from medadv.report.wording import THIN_SPACE, advice, percent
from medadv.sweep.store import Store, StoreDamaged
from medadv.sweep.trust import TITLES

VOID = {"meta", "img", "br", "hr", "input", "link"}
SVG_EMPTY = {"line", "polyline", "path", "circle"}


class Document(HTMLParser):
    """Tags in order with their attributes, text by enclosing tag; complains of tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.text = []
        self.open = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in SVG_EMPTY
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append((self.open[-1] if self.open else "", data))

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def words(self):
        return " ".join(" ".join(text for tag, text in self.text if tag not in ("style", "pre")).split())


def page_of(store, folder):
    return write_report(store, folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(store, tmp_path_factory):
    return page_of(store, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def document(page):
    return Document(page)


def test_nothing_is_loaded_and_nothing_runs(page, document):
    assert "http:" not in page
    assert "https:" not in page
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in document.tags}
    assert "@import" not in page
    assert "url(" not in page
    for _, attributes in document.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:").startswith("data:image/png;base64,") or "src" not in attributes
        assert "href" not in attributes
    policy = next(one["content"] for one in document.of("meta") if "http-equiv" in one)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")


def test_is_small(page):
    assert len(page.encode()) < 1_500_000


def test_says_what_was_found(document, store):
    words = document.words()
    results = read_results(store)
    assert percent(results.clean.value).replace(THIN_SPACE, " ") in words
    for series, subject in zip(
        results.series, ("8/255 of the intensity range, PGD noise", "a gain of 1.5, the bias field"), strict=True
    ):
        rate = series.points[-1].robust
        expected = f"At {subject} lowers accuracy from {percent(results.clean.value)} to {percent(rate.value)}"
        # `words` also splits at the narrow space between number and sign.
        assert " ".join(expected.split()) in words
    assert "Not for clinical use" in words
    assert "no proof of robustness" in words


def test_table_holds_every_number(page, document, store):
    results = read_results(store)
    rows = page.split("<tbody>")
    for series in results.series:
        for point in series.points:
            budget = series.wording.budget(point.budget)
            row = next(
                row for body in rows for row in body.split("<tr") if series.title in row and f">{budget}</td>" in row
            )
            assert f"{percent(point.robust.value)} <span" in row
            assert f"to {percent(point.robust.high)})" in row
            assert f"{percent(point.success.value)} <span" in row
            assert f"{point.forwards:.1f}" in row
            assert f"{point.backwards:.1f}" in row
    assert f'All attacks, largest budgets</th><td class="nowrap">{percent(results.worst.value)} ' in page
    assert all(one.get("scope") in ("col", "row") for one in document.of("th"))


def test_units_are_told_of_what_was_run_alone(document):
    words = document.words()
    assert "Budgets of noise are fractions of the intensity range (4/255: four grey levels of an 8-bit image)." in words
    assert "A gain of ×1.30 lets the bias field brighten" in words
    assert "No voxel" not in words
    assert "units of the image" not in words


def test_json_repeats_the_table(document, store):
    data = json.loads("".join(text for tag, text in document.text if tag == "pre"))
    results = read_results(store)
    assert data["clean_accuracy"]["count"] == results.clean.count
    assert len(data["attacks"]) == 8
    point = results.series[1].points[2]
    found = data["attacks"][6]
    assert found["budget"] == point.budget
    assert found["robust_accuracy"] == {
        "count": point.robust.count,
        "total": point.robust.total,
        "value": point.robust.value,
        "low": point.robust.low,
        "high": point.robust.high,
    }


def test_pictures_have_words_and_the_smallest_budget_comes_first(document, made):
    pictures = document.of("img")
    assert len(pictures) == 2 * 2 * 4
    assert all("alt" in one for one in pictures)
    headings = [text for tag, text in document.text if tag == "figcaption" and text.strip()]
    for attack, title in (("pgd", "PGD"), ("bias-field", "Bias field")):
        own = [text for text in headings if text.startswith(title)]
        first = next(b for b in made.BUDGETS[attack] if (made.status_at(attack, b) == "success").any())
        assert len(own) == 2
        assert ("1/255" if attack == "pgd" else f"gain of {first}") in own[0]
        assert ("8/255" if attack == "pgd" else "gain of 1.5") in own[1]
        assert all(text.endswith(": fooled") for text in own)


def test_colour_bar_has_numbers_and_units(document):
    words = document.words()
    assert "−8/255 0 +8/255 difference of intensity, fraction of the range" in words
    assert "×0.67 ×1.00 ×1.50 gain: factor on the intensity" in words


def test_provenance(document):
    words = document.words()
    for needed in (
        "ab" * 32,
        "cd" * 32,
        "2.13.0",
        "Seed",
        "Passes of single images, trust checks left out",
        "CrossEntropy()",
        "steps",
        "20.5 s",
        "2026-11-22 08:00:00 UTC",
    ):
        assert needed in words


def test_passed_checks_raise_no_banner(page, document):
    assert 'role="alert"' not in page
    assert "C13 Success is verified again not run" in document.words()


@pytest.mark.parametrize("number", ["C2", "C3", "C5", "C6", "C9", "C12", "C17"])
def test_a_decisive_failure_raises_the_red_banner(tmp_path, number, made):
    checks = [*made.CHECKS, (number, "The title of it", "failed", "The sentence of it.")]
    page = page_of(made.make_store(tmp_path / "sweep", checks=checks), tmp_path)
    assert page.count('class="banner bad"') == 1
    banner = page.split('class="banner bad"')[1].split("</div>")[0]
    assert "Do not rely on these numbers" in banner
    assert f"{number} The title of it." in banner
    assert f"The sentence of it. <em>{advice(number)}</em>" in banner


def test_there_is_advice_for_every_check():
    assert all(advice(number).endswith(".") for number in TITLES)
    assert advice("C99") == ""


def test_another_failure_is_named_too(tmp_path, made):
    checks = [("C8", "Curves fall", "failed", "One rises.")]
    page = page_of(made.make_store(tmp_path / "sweep", checks=checks), tmp_path)
    banner = page.split('class="banner bad"')[1].split("</div>")[0]
    assert "Do not rely" not in banner
    assert "C8 Curves fall." in banner


def test_missing_checks_and_units_are_told(tmp_path, made):
    words = Document(page_of(made.make_store(tmp_path / "sweep", checks=[], skip=3), tmp_path)).words()
    assert "No trust check was run" in words
    assert "Unfinished 4 of 17 planned units" in words


def test_hostile_names_are_text(tmp_path, monkeypatch, made):
    evil = "</style></title><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7*7 }} \"'&"
    monkeypatch.setattr(made, "CLASSES", [evil, evil])
    monkeypatch.setitem(made.CONFIGURATIONS, "pgd", {**made.CONFIGURATIONS["pgd"], "objective": evil})
    store = made.make_store(tmp_path / "sweep", model=evil, checks=[("C2", evil, "failed", evil)])
    page = page_of(store, tmp_path)
    assert "<script" not in page
    assert "onerror=alert(1)>" not in page
    assert "{{ 7*7 }}" in page
    document = Document(page)
    assert {attributes["src"][:10] for attributes in document.of("img")} == {"data:image"}
    assert [text for tag, text in document.text if tag == "h1"] == [evil]


def test_hostile_attack_name_in_the_figure(tmp_path, monkeypatch, made):
    evil = '"><script>alert(1)</script>'
    for table in (made.BUDGETS, made.CONFIGURATIONS, made.THRESHOLD):
        monkeypatch.setitem(table, evil, table["pgd"])
    page = page_of(made.make_store(tmp_path / "sweep", attacks=(evil,)), tmp_path)
    assert "<script" not in page
    Document(page)


def test_nothing_fooled_is_said(tmp_path, monkeypatch, made):
    monkeypatch.setitem(made.THRESHOLD, "pgd", np.full(made.COUNT, 2.0))
    words = Document(page_of(made.make_store(tmp_path / "sweep", attacks=("pgd",)), tmp_path)).words()
    assert "PGD noise changes no right answer into a wrong one." in words
    assert "8/255 of the intensity range: not fooled" in words


def test_same_store_gives_the_same_bytes(store, page, tmp_path):
    assert page_of(Store.open(store.path), tmp_path) == page


def test_an_old_report_is_replaced_and_no_draft_stays(store, page, tmp_path):
    (tmp_path / "report.html").write_text("old")
    assert page_of(store, tmp_path) == page
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_damage_is_refused_and_the_old_report_stays(tmp_path, made):
    store = made.make_store(tmp_path / "sweep")
    target = tmp_path / "report.html"
    target.write_text("old")
    for pattern in ("units/*/*", "artifacts/*/*", "receipts/*"):
        file = sorted(store.path.glob(pattern))[0]
        raw = file.read_bytes()
        file.write_bytes(raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:])
        with pytest.raises(StoreDamaged):
            write_report(store, target)
        file.write_bytes(raw)
        assert target.read_text() == "old"


def test_numbers_carry_a_space_that_does_not_break():
    assert percent(0.5) == f"50{THIN_SPACE}%"


def test_store_and_report_do_not_import_torch(store, tmp_path):
    code = (
        "import sys; from medadv.sweep import Store; from medadv.report import write_report; "
        "write_report(Store.open(sys.argv[1]), sys.argv[2]); sys.exit('torch' in sys.modules)"
    )
    target = tmp_path / "report.html"
    done = subprocess.run([sys.executable, "-c", code, store.path, target], check=False)
    assert done.returncode == 0
    assert target.exists()
