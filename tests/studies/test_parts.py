"""Parts are computed once, and again when their inputs change or their file is damaged."""

import pytest

from medadv.sweep.unit import Unit
from studies._common.parts import Parts


def counting(values):
    return lambda: {"number": next(values)}


def test_a_part_is_computed_once(tmp_path):
    values = iter([1, 2])
    unit = Unit("part", {"eps": 0.5})
    assert Parts(tmp_path).get(unit, counting(values)) == {"number": 1}
    later = Parts(tmp_path)
    assert later.get(unit, counting(values)) == {"number": 1}
    assert later.computed == 0


def test_other_inputs_are_another_part(tmp_path):
    values, parts = iter([1, 2]), Parts(tmp_path)
    assert parts.get(Unit("part", {"eps": 0.5}), counting(values)) == {"number": 1}
    assert parts.get(Unit("part", {"eps": 0.25}), counting(values)) == {"number": 2}


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"content": {"number": 7}}'])
def test_a_damaged_part_is_computed_again(tmp_path, damage):
    values, parts, unit = iter([1, 2]), Parts(tmp_path), Unit("part", {})
    parts.get(unit, counting(values))
    parts.path(unit).write_bytes(damage)
    assert parts.get(unit, counting(values)) == {"number": 2}


def test_a_part_that_was_interrupted_is_not_there(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    parts, unit = Parts(tmp_path), Unit("part", {})
    with pytest.raises(KeyboardInterrupt):
        parts.get(unit, interrupted)
    assert parts.get(unit, lambda: {"number": 3}) == {"number": 3}
