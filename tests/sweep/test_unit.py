"""Units: one id for one piece of work, whatever the order of its fields."""

import subprocess
import sys
from enum import IntEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medadv.sweep.unit import Unit, canonical_json

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_id_is_pinned():
    # Stored results are found by this id: a change of its recipe would orphan every store.
    unit = Unit("attack", {"attack": "pgd", "budget": 8 / 255, "seed": 0, "configuration": {"norm": "linf"}})
    assert unit.id == "da1a258c09142d491b13be5e8143846a863624d27822e3631f83935ae5a88062"


@given(st.dictionaries(st.text(max_size=5), PLAIN, max_size=5))
def test_order_of_fields_does_not_matter(fields):
    turned = dict(reversed(fields.items()))
    assert Unit("attack", fields).id == Unit("attack", turned).id
    assert Unit("attack", fields) == Unit("attack", turned)
    assert len({Unit("attack", fields), Unit("attack", turned)}) == 1


@given(PLAIN, PLAIN)
def test_different_fields_have_different_ids(first, second):
    same = canonical_json(first) == canonical_json(second)
    assert (Unit("attack", {"a": first}).id == Unit("attack", {"a": second}).id) == same


def test_kind_and_every_field_count():
    ids = {
        Unit("attack", {"seed": 0}).id,
        Unit("check", {"seed": 0}).id,
        Unit("attack", {"seed": 1}).id,
        Unit("attack", {"seed": 0.5}).id,
        Unit("attack", {"seed": "0"}).id,
        Unit("attack", {"seed": False}).id,
        Unit("attack", {}).id,
    }
    assert len(ids) == 7


def test_the_callers_dict_is_copied():
    inner = {"steps": 1}
    unit = Unit("attack", {"configuration": inner})
    before = unit.id
    inner["steps"] = 2
    assert unit.id == before
    assert unit.fields["configuration"] == {"steps": 1}


class Colour(IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("", {}), ValueError, "kind"),
        ((1, {}), TypeError, "kind"),
        (("attack", [1]), TypeError, "fields"),
        (("attack", {"budget": float("nan")}), ValueError, "budget.*finite"),
        (("attack", {"budget": float("inf")}), ValueError, "budget.*finite"),
        (("attack", {"budget": np.float32(1)}), TypeError, "budget.*float32"),
        (("attack", {"budget": np.float64(1)}), TypeError, "budget.*float64"),
        (("attack", {"c": {"size": (1, 2)}}), TypeError, r"\['c'\]\['size'\].*tuple"),
        (("attack", {"c": [1, Colour.RED]}), TypeError, r"\[1\].*Colour"),
        (("attack", {"c": {1: 2}}), TypeError, "key"),
    ],
)
def test_wrong_input_is_one_sentence(arguments, error, words):
    with pytest.raises(error, match=words) as caught:
        Unit(*arguments)
    assert "\n" not in str(caught.value)


def test_sweep_and_store_do_not_import_torch_or_duckdb():
    code = "import sys, medadv.sweep; sys.exit(bool({'torch', 'duckdb', 'jinja2', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
