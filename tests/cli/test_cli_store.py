"""`medadv report` and `medadv verify`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from medadv.sweep import Store
from medadv.sweep.sealed_json import seal, unseal

GIVEN = ("--budget", "0.01,0.03")


@pytest.fixture
def store(place):
    result = place.evaluate(*GIVEN)
    assert result.exit_code == 0, result.output
    return Path("out")


def test_report_is_what_evaluate_wrote(place, store):
    before = (store / "report.html").read_bytes()
    (store / "report.html").unlink()
    result = place.run("report", "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "Report: out/report.html"
    assert (store / "report.html").read_bytes() == before
    elsewhere = place.run("report", "out", "--out", "elsewhere.html", "--json")
    assert json.loads(elsewhere.stdout)["report"] == "elsewhere.html"
    assert Path("elsewhere.html").read_bytes() == before


def test_report_of_an_unfinished_evaluation_says_so(place, store):
    receipts = sorted((store / "receipts").iterdir(), key=lambda path: '"check"' in path.read_text())
    receipts[-1].unlink()
    result = place.run("report", "out")
    assert result.exit_code == 0
    assert "Unfinished: 1 of 3 units" in result.stdout
    assert "Trust checks: none was run" in result.stdout


def test_sound_store(place, store):
    result = place.run("verify", "out")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "Sound: 3 units; 3 of 3 planned units are done\n"


def test_a_store_of_two_circumstances_is_sound_and_says_what_differs(place, store):
    receipt = min((store / "receipts").iterdir())
    content = unseal(receipt.read_bytes())
    content["facts"]["threads"] = 97
    content["committed"] = "9999-01-01T00:00:00+00:00"
    threads = unseal(max((store / "receipts").iterdir()).read_bytes())["facts"]["threads"]
    receipt.write_bytes(seal(content))
    words = "Roundings may differ, as not all was computed in the same circumstances: "
    words += f"threads {threads} in 2 units, 97 in 1."
    result = place.run("verify", "out")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"Sound: 3 units; 3 of 3 planned units are done\n{words}\n"
    assert place.run("report", "out").stdout.splitlines()[-2] == words
    assert json.loads(place.run("report", "out", "--json").stdout)["circumstances"] == words
    page = (store / "report.html").read_text()
    assert page.split('class="banner warn"')[1].split("</div>")[0].count(words) == 1


@pytest.mark.parametrize("pattern", ["plan.json", "units/*/*.parquet", "artifacts/*/*.safetensors", "receipts/*.json"])
def test_damage_is_found(place, store, pattern):
    path = sorted(store.glob(pattern))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    result = place.run("verify", "out")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert path.name in result.stderr
    if "units" in pattern or "plan" in pattern:
        assert place.run("report", "out").exit_code == 4


def test_all_damage_is_listed(place, store):
    for path in store.glob("units/*/*.parquet"):
        path.unlink()
    result = place.run("verify", "out")
    assert result.exit_code == 4
    assert len(result.stderr.splitlines()) == 3
    assert result.stderr.splitlines()[-1].count("(3 damaged in all; ") == 1


@pytest.mark.parametrize("command", ["report", "verify"])
def test_what_is_no_store(place, command):
    for name in ("nowhere", "images", "models.py"):
        result = place.run(command, name)
        assert result.exit_code == 2
        assert result.stderr == f"Error: {name}: no medadv store; the folder that an evaluation wrote expected\n"


def test_report_where_nothing_can_be_written(place, store):
    result = place.run("report", "out", "--out", "nowhere/report.html")
    assert result.exit_code == 2
    assert result.stderr == "Error: nowhere/report.html: cannot be written (No such file or directory)\n"


def test_a_damaged_unit_is_done_anew_where_its_receipt_is_removed(place, store):
    whole = Store.open("out").query("SELECT * FROM rows ORDER BY unit, example", "attack")
    path = sorted(store.glob("units/*/*.parquet"))[0]
    path.write_bytes(path.read_bytes()[:-1])
    assert place.run("verify", "out").exit_code == 4
    (store / "receipts" / f"{path.name.split('.')[0]}.json").unlink()
    result = place.evaluate(*GIVEN, "--resume")
    assert result.exit_code == 0, result.output
    assert place.run("verify", "out").exit_code == 0
    again = Store.open("out").query("SELECT * FROM rows ORDER BY unit, example", "attack")
    assert {name: values.tolist() for name, values in whole.items()} == {
        name: values.tolist() for name, values in again.items()
    }


def test_the_package_can_be_run(place):
    command = [sys.executable, "-m", "medadv", "verify", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=place.environment)
    assert done.returncode == 2
    assert done.stderr == "Error: nowhere: no medadv store; the folder that an evaluation wrote expected\n"
    usage = subprocess.run(
        [*command[:3], "--help"], capture_output=True, text=True, timeout=60, check=False, env=place.environment
    )
    assert usage.stdout.startswith("Usage: python -m medadv ")
