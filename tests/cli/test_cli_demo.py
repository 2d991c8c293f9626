"""`medadv demo`, on fewer and smaller phantoms."""

import json
from pathlib import Path

import pytest

import medadv.cli.demo
from medadv.sweep import Store


@pytest.fixture
def small(monkeypatch):
    for name, value in {"TRAINING_IMAGES": 64, "TEST_IMAGES": 12, "EPOCHS": 2, "SIZE": 24}.items():
        monkeypatch.setattr(medadv.cli.demo, name, value)


def test_demo_ends_with_a_report_that_can_be_made_again_by_hand(place, small):
    result = place.run("demo", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["report"] == "demo/report.html"
    assert [(entry["attack"], entry["budget"]) for entry in told["attacks"]] == [
        *(("pgd", value / 255) for value in (1, 2, 4, 8)),
        *(("bias-field", value) for value in (1.1, 1.2, 1.3, 1.5)),
    ]
    assert "<html" in Path("demo/report.html").read_text()
    command = result.stderr.splitlines()[-1].partition("medadv evaluate ")[2].split()
    again = place.run("evaluate", *command, "--json")
    assert again.exit_code == 0, again.output
    by_hand = json.loads(again.stdout)
    assert by_hand["attacks"] == told["attacks"]
    assert by_hand["clean_accuracy"] == told["clean_accuracy"]
    assert Store.open("demo").verify() == []


def test_demo_takes_the_next_free_name(place, small):
    Path("demo").mkdir()
    Path("demo-2").write_text("mine")
    result = place.run("demo")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "Report: demo-3/report.html"
    assert list(Path("demo").iterdir()) == []


def test_demo_does_not_touch_a_folder_that_exists(place):
    Path("mine").mkdir()
    result = place.run("demo", "--out", "mine")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: --out mine: exists already; name a new folder\n"
    assert list(Path("mine").iterdir()) == []
