"""The store: exact values, whole units only, damage never silent."""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from medadv.sweep.store import Store, StoreDamaged, StoreExists
from medadv.sweep.unit import Unit

PLAN = {"medadv": "0.1.0", "seed": 0, "model": {"source": "é<model>"}, "budgets": [1e-05, 0.5]}


def attack_unit(number=0):
    return Unit("attack", {"attack": "pgd", "budget": 0.5, "shard": number, "configuration": {"steps": 2}})


def columns(rows=3, number=0):
    return {
        "example": np.arange(rows, dtype=np.int64) + 100 * number,
        "label": np.arange(rows, dtype=np.uint8),
        "loss": np.linspace(-1, 1, rows, dtype=np.float32),
        "fooled": np.arange(rows) % 2 == 0,
        "name": [f"folder/{number}-{row}.png" for row in range(rows)],
    }


def artifacts():
    return {"examples": np.array([0, 2]), "clean": np.random.default_rng(0).random((2, 1, 3, 4), np.float32)}


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "sweep", PLAN)


@pytest.fixture
def filled(store):
    for number in range(3):
        store.commit(attack_unit(number), columns(number=number), artifacts() if number == 1 else None)
    return store


# Values


def test_values_come_back_to_the_bit(store):
    given = {
        "float": np.array([np.nan, np.inf, -np.inf, -0.0, np.float32(0.1)], np.float32),
        "double": np.array([np.nan, 1e-300, np.pi, -0.0, 1.0]),
        "integer": np.array([-(2**63), 2**63 - 1, 0, 1, 2]),
        "byte": np.array([0, 255, 1, 2, 3], np.uint8),
        "flag": np.array([True, False, True, True, False]),
        "text": ["", "é 'quoted' \"too\"", "NULL", "nan", "2020-01-01"],
        'a "name"': ["1", "2", "3", "4", "5"],
    }
    assert store.commit(attack_unit(), given)
    answer = store.query("SELECT * EXCLUDE (unit) FROM rows", kind="attack")
    assert list(answer) == list(given)
    for name, values in given.items():
        if isinstance(values, list):
            assert answer[name].tolist() == values
        else:
            assert answer[name].dtype == values.dtype
            # Bytes, because -0.0 == 0.0; the payload of a NaN is no value.
            np.testing.assert_array_equal(np.isnan(answer[name]), np.isnan(values))
            finite = ~np.isnan(values)
            assert answer[name][finite].tobytes() == values[finite].tobytes()
    # In the file a NaN is a NaN, not NULL, which aggregates would leave out.
    nans = store.query("SELECT count_if(isnan(float)) AS f, count_if(isnan(double)) AS d FROM rows", kind="attack")
    assert (nans["f"][0], nans["d"][0]) == (1, 1)


def test_text_columns_stay_text_although_all_are_numbers_or_none_are_there(store):
    store.commit(attack_unit(0), {"name": ["1", "2"]})
    store.commit(attack_unit(1), {"name": []})
    answer = store.query("SELECT name, typeof(name) AS kind FROM rows ORDER BY name", kind="attack")
    assert answer["name"].tolist() == ["1", "2"]
    assert set(answer["kind"]) == {"VARCHAR"}
    assert store.receipt(attack_unit(1).id).rows == 0


def test_strided_and_byte_swapped_columns(store):
    given = {"a": np.arange(10)[::3], "b": np.arange(4, dtype=">i4"), "c": np.array(["x", "y", "z", "w"])}
    store.commit(attack_unit(), given)
    answer = store.query("SELECT a, b, c FROM rows", kind="attack")
    assert answer["a"].tolist() == [0, 3, 6, 9]
    assert answer["b"].tolist() == [0, 1, 2, 3]
    assert answer["c"].tolist() == ["x", "y", "z", "w"]


def test_artifacts_come_back_also_when_not_contiguous(store):
    given = {
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "ids": np.array([3, 1]),
        "one": np.array(2.0),
    }
    store.commit(attack_unit(), columns(), given)
    answer = store.artifacts(attack_unit().id)
    assert answer.keys() == given.keys()
    for name, array in given.items():
        np.testing.assert_array_equal(answer[name], array)
        assert answer[name].dtype == array.dtype
        assert answer[name].shape == array.shape


def test_no_artifacts_is_an_empty_dict(filled):
    assert filled.artifacts(attack_unit(0).id) == {}
    assert set(filled.artifacts(attack_unit(1).id)) == {"examples", "clean"}


def test_query_joins_rows_with_the_fields_of_their_unit(filled):
    filled.commit(Unit("check", {"data": "x"}), {"check": ["C1"], "outcome": ["passed"]})
    answer = filled.query(
        "SELECT shard, budget, attack, sum(example) AS total FROM rows JOIN units USING (unit) "
        "GROUP BY ALL ORDER BY shard",
        kind="attack",
    )
    assert answer["shard"].tolist() == [0, 1, 2]
    assert answer["total"].tolist() == [3, 303, 603]
    assert set(answer["budget"]) == {0.5}
    assert set(answer["attack"]) == {"pgd"}
    assert filled.query("SELECT outcome FROM rows", kind="check")["outcome"].tolist() == ["passed"]


def test_null_in_an_answer_is_nan_or_none(filled):
    sql = "SELECT * FROM (VALUES (1.5::DOUBLE, 'a', 1), (NULL, NULL, NULL)) AS t(number, word, count)"
    answer = filled.query(sql, kind="attack")
    assert answer["number"][0] == 1.5
    assert np.isnan(answer["number"][1])
    assert answer["word"].tolist() == ["a", None]
    assert answer["count"].tolist() == [1, None]


# Committing


def test_second_commit_changes_nothing(store):
    assert store.commit(attack_unit(), columns(), artifacts(), {"seconds": 1.5})
    before = snapshot(store.path)
    assert store.commit(attack_unit(), columns(rows=5), None, {"seconds": 9.0}) is False
    assert snapshot(store.path) == before


def test_loser_of_a_race_leaves_no_files(store, monkeypatch):
    """Two processes compute one unit with different results: the other's receipt comes just before ours."""
    winner = Store.open(store.path)
    original = os.link

    def link_late(source, target):
        monkeypatch.setattr(os, "link", original)
        assert winner.commit(attack_unit(), columns(), artifacts())
        return original(source, target)

    monkeypatch.setattr(os, "link", link_late)
    assert store.commit(attack_unit(), columns(rows=7)) is False
    assert store.verify() == []
    assert store.query("SELECT count(*) AS n FROM rows", kind="attack")["n"].tolist() == [3]
    assert len(files_under(store.path / "units")) == 1
    assert files_under(store.path / "tmp") == []


def test_link_that_nfs_reports_as_taken_by_ourselves_is_won(store, monkeypatch):
    original = os.link

    def link_twice(source, target):
        original(source, target)
        original(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    assert store.commit(attack_unit(), columns()) is True


def test_done_is_the_receipts(filled):
    assert filled.done() == {attack_unit(number).id for number in range(3)}
    (filled.path / "receipts" / "notes.txt").write_text("x")
    (filled.path / "receipts" / f"{attack_unit(1).id}.json").unlink()
    assert filled.done() == {attack_unit(0).id, attack_unit(2).id}


def test_receipt_tells_what_is_known(store):
    facts = {"seconds": 1.5, "versions": {"torch": "2.13.0"}}
    store.commit(attack_unit(), columns(), artifacts(), facts)
    receipt = store.receipt(attack_unit().id)
    assert receipt.unit == attack_unit()
    assert receipt.rows == 3
    assert receipt.columns == tuple(columns())
    assert receipt.facts == facts
    for part in ("rows", "artifacts"):
        raw = (store.path / receipt.files[part]["path"]).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == receipt.files[part]["sha256"]
    assert receipt.files["rows"]["path"].startswith(f"units/{attack_unit().id[:2]}/{attack_unit().id}.")
    plan = (store.path / "plan.json").read_bytes()
    assert hashlib.sha256(plan).hexdigest() == receipt.plan_sha256


def test_receipts_of_a_kind(filled):
    check = Unit("check", {})
    filled.commit(check, {"check": ["C1"]})
    assert {receipt.unit for receipt in filled.receipts("attack")} == {attack_unit(n) for n in range(3)}
    assert [receipt.unit for receipt in filled.receipts("check")] == [check]
    assert len(filled.receipts()) == 4


def test_every_file_is_on_the_disk_before_it_is_named_and_every_name_before_the_next_step(store, monkeypatch):
    """Power may fail after any step: content before name, data names before the receipt."""
    log = []
    real_sync, real_replace, real_link = os.fsync, os.replace, os.link

    def sync(descriptor):
        log.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        real_sync(descriptor)

    def replace(source, target):
        log.append(("name", str(source), str(target)))
        real_replace(source, target)

    def link(source, target):
        log.append(("name", str(source), str(target)))
        real_link(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "link", link)
    store.commit(attack_unit(), columns(), artifacts())

    named = [index for index, step in enumerate(log) if step[0] == "name"]
    folders = [Path(log[index][2]).relative_to(store.path).parts[0] for index in named]
    assert folders == ["units", "artifacts", "receipts"]
    for index in named:
        _, source, target = log[index]
        assert ("sync", source) in log[:index]
        following = next((later for later in named if later > index), len(log))
        assert ("sync", str(Path(target).parent)) in log[index:following]
        if folders[named.index(index)] != "receipts":
            assert ("sync", str(Path(target).parent.parent)) in log[index:following]


COMMIT_TWELVE = """
import sys
sys.path.insert(0, {tests!r})
import test_store as shared
from medadv.sweep.store import Store

store = Store.open(sys.argv[1])
first = int(sys.argv[2])
sys.stdin.readline()
print(sum(
    store.commit(shared.attack_unit(number), shared.columns(number=number), shared.artifacts())
    for number in range(first, first + 12)
))
"""


def test_processes_commit_different_units_and_fight_for_the_same(store):
    code = COMMIT_TWELVE.format(tests=str(Path(__file__).parent))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, store.path, first],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in ("0", "6")
    ]
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    won = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    # Units 6 to 11 are wanted by both.
    assert sum(won) == 18
    assert min(won) > 0
    assert len(store.done()) == 18
    assert store.verify() == []
    counted = store.query("SELECT count(*) AS n, count(DISTINCT example) AS d FROM rows", kind="attack")
    assert counted["n"].tolist() == counted["d"].tolist() == [54]
    assert files_under(store.path / "tmp") == []


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({}, ValueError, "at least one column"),
        ({"a": np.arange(3), "b": np.arange(2)}, ValueError, "one length"),
        ({"a": np.arange(3), "b": ["x"]}, ValueError, "one length"),
        ({"a": np.zeros((2, 2))}, ValueError, "'a'.*one-dimensional"),
        ({"a": np.zeros(2, complex)}, TypeError, "'a'.*complex"),
        ({"a": np.zeros(2, np.float16)}, TypeError, "'a'.*float16"),
        ({"a": np.zeros(2, "M8[s]")}, TypeError, "'a'.*datetime"),
        ({"a": [1, 2]}, TypeError, "'a'.*int at row 0"),
        ({"a": ["x", None]}, TypeError, "'a'.*NoneType at row 1"),
        ({"a": np.array(["x", 1], object)}, TypeError, "'a'.*int at row 1"),
        ({"a": "text"}, TypeError, "'a'.*str"),
        ({"a": ["\udc80"]}, ValueError, "'a'.*Unicode"),
        ({"a": ["x"], "A": ["x"]}, ValueError, "differ"),
        ({"unit": ["x"]}, ValueError, "unit"),
    ],
)
def test_wrong_columns_are_refused_and_leave_nothing(store, given, error, words):
    before = snapshot(store.path)
    with pytest.raises(error, match=words) as caught:
        store.commit(attack_unit(), given)
    assert "\n" not in str(caught.value)
    assert snapshot(store.path) == before


@pytest.mark.parametrize(
    ("extra", "error", "words"),
    [
        ({"artifacts": {"a": [1.0]}}, TypeError, "artifact 'a'.*list"),
        ({"artifacts": {"a": np.array(["x"])}}, TypeError, "artifact 'a'.*U1"),
        ({"facts": {"seconds": float("nan")}}, ValueError, "seconds.*finite"),
        ({"facts": {"seconds": np.float32(1)}}, TypeError, "seconds.*float32"),
    ],
)
def test_wrong_artifacts_and_facts_are_refused_and_leave_nothing(store, extra, error, words):
    before = snapshot(store.path)
    with pytest.raises(error, match=words):
        store.commit(attack_unit(), columns(), **extra)
    assert snapshot(store.path) == before


# Creating and opening


def test_create_refuses_what_exists_and_leaves_it_alone(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    file = tmp_path / "file"
    file.write_text("mine")
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    before = snapshot(tmp_path)
    for path in (taken, file, dangling):
        with pytest.raises(StoreExists, match="must not exist"):
            Store.create(path, PLAN)
    assert snapshot(tmp_path) == before


def test_create_says_which_folder_cannot_be_made(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(OSError, match=rf"the folder {file} cannot be made: File exists"):
        Store.create(file / "store", PLAN)
    assert file.read_text() == "mine"


def test_a_store_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("medadv.sweep.store.os.rename", full)
    with pytest.raises(OSError, match=rf"the store {tmp_path / 'out'} cannot be made: No space left on device$"):
        Store.create(tmp_path / "out", {})
    assert list(tmp_path.iterdir()) == []


def test_create_with_a_wrong_plan_leaves_nothing(tmp_path):
    for plan, error in [
        ({"a": np.float32(1)}, TypeError),
        ({"a": float("inf")}, ValueError),
        ({"sha256": ""}, ValueError),
    ]:
        with pytest.raises(error):
            Store.create(tmp_path / "deep" / "sweep", plan)
    assert list(tmp_path.iterdir()) == []


def test_failed_create_leaves_no_draft(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space"):
        Store.create(tmp_path / "sweep", PLAN)
    assert list(tmp_path.iterdir()) == []


def test_plan_comes_back(store):
    assert Store.open(store.path).plan == PLAN


def test_open_refuses_what_is_no_store(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ValueError, match="no medadv store") as caught:
            Store.open(path)
        assert not isinstance(caught.value, StoreDamaged)


def test_open_without_plan_is_damage(filled):
    (filled.path / "plan.json").unlink()
    with pytest.raises(StoreDamaged, match="missing"):
        Store.open(filled.path)


def test_open_sweeps_what_dead_processes_left_and_nothing_else(store):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = os.uname().nodename
    tmp = store.path / "tmp"
    left = tmp / f"{dead.pid}.aa.{host}"
    alive = tmp / f"{os.getpid()}.bb.{host}"
    init = tmp / f"1.cc.{host}"
    elsewhere = tmp / f"{dead.pid}.dd.other.host.example"
    elsewhere_old = tmp / f"{dead.pid}.ee.other.host.example"
    for path in (left, alive, init, elsewhere, elsewhere_old):
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(elsewhere_old, (long_ago, long_ago))
    Store.open(store.path)
    assert set(tmp.iterdir()) == {alive, init, elsewhere}


def test_query_and_receipt_of_what_is_not_there(store):
    with pytest.raises(ValueError, match="no unit of kind 'attack'"):
        store.query("SELECT 1", kind="attack")
    with pytest.raises(ValueError, match="not committed"):
        store.artifacts(attack_unit().id)


# Damage


def read_everything(path):
    """Everything that a report reads; raises StoreDamaged."""
    store = Store.open(path)
    store.query("SELECT * FROM rows JOIN units USING (unit)", kind="attack")
    for receipt in store.receipts():
        store.artifacts(receipt.unit.id)


def every_file(path):
    return sorted(file for file in path.rglob("*") if file.is_file())


def positions(size, count, seed):
    return sorted(random.Random(seed).sample(range(size * 8), min(count, size * 8)))


def test_every_flipped_bit_is_found(filled):
    """All bits of the plan and of one receipt, many of every other file; by reading and by `verify`."""
    read_everything(filled.path)
    flips = 0
    for file in every_file(filled.path):
        raw = file.read_bytes()
        sealed = file.suffix == ".json"
        full = file.name in ("plan.json", f"{attack_unit(1).id}.json")
        for position in positions(len(raw), len(raw) * 8 if full else 250, seed=len(raw)):
            mutant = bytearray(raw)
            mutant[position // 8] ^= 1 << position % 8
            file.write_bytes(mutant)
            assert found(filled, file, sealed), (file.name, position)
            flips += 1
        file.write_bytes(raw)
    assert flips > 8000
    read_everything(filled.path)


def test_every_truncation_and_an_added_byte_are_found(filled):
    for file in every_file(filled.path):
        raw = file.read_bytes()
        for length in [*range(0, len(raw), 64), len(raw) - 1]:
            file.write_bytes(raw[:length])
            assert found(filled, file, file.suffix == ".json"), (file.name, length)
        for added in (b"\0", b"\n", b" "):
            file.write_bytes(raw + added)
            assert found(filled, file, file.suffix == ".json"), (file.name, added)
        file.write_bytes(raw)


def found(store, file, sealed):
    """Whether the reading that needs the file reports StoreDamaged; the cheapest such reading."""
    if file.name == "plan.json":
        with pytest.raises(StoreDamaged, match=r"plan\.json"):
            Store.open(store.path)
        return any("plan.json" in sentence for sentence in store.verify()[:1])
    unit_id = file.name[:64]
    try:
        if sealed:
            store.receipt(unit_id)
        elif file.suffix == ".parquet":
            store._read(store.receipt(unit_id), "rows")
        else:
            store.artifacts(unit_id)
    except StoreDamaged as error:
        return unit_id in str(error)
    return False


@pytest.mark.parametrize("pattern", ["units/*/*.parquet", "artifacts/*/*.safetensors", "receipts/*.json", "plan.json"])
@pytest.mark.parametrize("harm", ["flip", "remove"])
def test_damage_is_found_by_every_door(filled, pattern, harm):
    for file in sorted(filled.path.glob(pattern)):
        raw = file.read_bytes()
        if harm == "flip":
            file.write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
        elif file.parent.name == "receipts":
            continue  # a unit without receipt is not committed, which is no damage
        else:
            file.unlink()
        sentences = filled.verify()
        assert len(sentences) == 1
        assert file.name in sentences[0]
        with pytest.raises(StoreDamaged, match=file.name.split(".")[0]):
            read_everything(filled.path)
        file.write_bytes(raw)
    read_everything(filled.path)


def test_flipped_shard_never_reaches_a_query(filled):
    shard = next(filled.path.glob("units/*/*.parquet"))
    raw = shard.read_bytes()
    shard.write_bytes(raw[:100] + bytes([raw[100] ^ 4]) + raw[101:])
    with pytest.raises(StoreDamaged):
        filled.query("SELECT sum(example) FROM rows", kind="attack")


def test_exchanged_receipts_and_foreign_plans_are_found(filled, tmp_path):
    first, second = (filled.path / "receipts" / f"{attack_unit(n).id}.json" for n in (0, 1))
    kept = second.read_bytes()
    shutil.copy(first, second)
    with pytest.raises(StoreDamaged, match="another unit"):
        filled.receipt(attack_unit(1).id)
    second.write_bytes(kept)
    other = Store.create(tmp_path / "other", {**PLAN, "seed": 1})
    shutil.copy(other.path / "plan.json", filled.path / "plan.json")
    with pytest.raises(StoreDamaged, match="another plan"):
        read_everything(filled.path)


def test_resealing_is_needed_even_for_a_change_of_case_or_spaces(store):
    """A hash over the parsed JSON would not see these."""
    plan = store.path / "plan.json"
    raw = plan.read_bytes()
    for old, new in [(b"1e-05", b"1E-05"), (b"\\u00e9", b"\\u00E9"), (b"0.5", b"0.50"), (b": 0", b":0")]:
        assert old in raw
        plan.write_bytes(raw.replace(old, new, 1))
        assert json.loads(plan.read_bytes()) == json.loads(raw)
        with pytest.raises(StoreDamaged):
            Store.open(store.path)


# Sudden death

DIE_AT_EVERY_STEP = """
import os, shutil, sys
sys.path.insert(0, {tests!r})
import duckdb
import test_store as shared
from medadv.sweep import store as store_module
from medadv.sweep.store import Store

def deadly(function, step):
    def wrapped(*arguments, **options):
        count[0] += 1
        if count[0] == step:
            os._exit(9)             # before
        answer = function(*arguments, **options)
        count[0] += 1
        if count[0] == step:
            os._exit(9)             # after
        return answer
    return wrapped

count = [0]
step, code = 0, 9
while code == 9:
    step += 1
    copy = sys.argv[2] + "/" + str(step)
    shutil.copytree(sys.argv[1], copy)
    child = os.fork()               # no connection to DuckDB is open, so there are no threads
    if child == 0:
        store = Store.open(copy)
        for name in ("open", "fsync", "replace", "link", "unlink", "mkdir", "stat"):
            setattr(os, name, deadly(getattr(os, name), step))
        store_module.write_parquet = deadly(store_module.write_parquet, step)
        store.commit(shared.attack_unit(5), shared.columns(number=5), shared.artifacts())
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(code)
"""


def test_death_at_every_step_of_a_commit_leaves_all_or_nothing(filled, tmp_path):
    code = DIE_AT_EVERY_STEP.format(tests=str(Path(__file__).parent))
    steps = tmp_path / "steps"
    steps.mkdir()
    subprocess.run([sys.executable, "-c", code, filled.path, steps], check=True, timeout=120)
    fates = []
    left = 0
    for step in range(1, len(list(steps.iterdir())) + 1):
        path = steps / str(step)
        left += len(files_under(path / "tmp"))
        store = Store.open(path)
        assert files_under(path / "tmp") == []
        assert store.verify() == []
        committed = attack_unit(5).id in store.done()
        rows = store.query("SELECT count(*) AS n FROM rows", kind="attack")["n"].tolist()
        assert rows == ([12] if committed else [9])
        if committed:
            assert set(store.artifacts(attack_unit(5).id)) == {"examples", "clean"}
        fates.append(committed)
        # What death left must not hinder the next attempt.
        assert store.commit(attack_unit(5), columns(number=5), artifacts()) is not committed
        assert store.verify() == []
    assert len(fates) > 20
    assert left > 5
    # Dead before the receipt is linked: nothing. After it: everything.
    assert fates == sorted(fates)
    assert fates[0] is False
    assert fates[-2] is True


COMMIT_FOR_EVER = """
import sys
sys.path.insert(0, {tests!r})
import test_store as shared
from medadv.sweep.store import Store

store = Store.open(sys.argv[1])
for number in range(10_000):
    if shared.attack_unit(number).id not in store.done():
        store.commit(shared.attack_unit(number), shared.columns(2000, number), shared.artifacts())
        print(number, flush=True)
"""


def test_sigkill_at_random_moments_loses_and_doubles_nothing(store, tmp_path):
    script = tmp_path / "work.py"
    script.write_text(COMMIT_FOR_EVER.format(tests=str(Path(__file__).parent)))
    chance = random.Random(0)
    told = set()
    for _ in range(6):
        process = subprocess.Popen([sys.executable, script, store.path], stdout=subprocess.PIPE, text=True)
        told.add(int(process.stdout.readline()))  # working by now, so the kill hits a commit
        time.sleep(chance.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        told |= {int(line) for line in process.stdout.read().split()}
        process.wait()
    reopened = Store.open(store.path)
    assert files_under(store.path / "tmp") == []
    assert reopened.verify() == []
    done = reopened.done()
    assert {attack_unit(number).id for number in told} <= done
    counted = reopened.query(
        "SELECT count(*) AS n, count(DISTINCT (unit, example)) AS d, count(DISTINCT unit) AS u FROM rows",
        kind="attack",
    )
    assert counted["u"].tolist() == [len(done)]
    assert counted["n"].tolist() == counted["d"].tolist() == [2000 * len(done)]


def files_under(path):
    return [str(file.relative_to(path)) for file in sorted(path.rglob("*")) if file.is_file()]


def snapshot(path):
    return {
        str(file.relative_to(path)): file.read_bytes() if file.is_file() else None
        for file in sorted(path.rglob("*"))
        if not file.is_symlink()
    }
