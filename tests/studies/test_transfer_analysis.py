"""Success, transfer and realism of constructed outcomes, worked out by hand."""

import numpy as np
import pytest

from studies.bias_field.analysis import (
    BLACK_BOX,
    OTHER_SEED,
    SetAnalysis,
    curve_rows,
    matched_rows,
    tuning_rows,
)
from studies.bias_field.configuration import Contender
from studies.bias_field.outcomes import UNCHANGED
from studies.bias_field.random_bias_field import RandomBiasField

VICTIMS = [("dense", 0), ("dense", 1), ("mobile", 0), ("mobile", 1)]
IMAGES = 4
# Images fooled, of four, at two budgets, by surrogate, then by victim in the order of VICTIMS.
PGD = {
    ("dense", 0): [[1, 1, 0, 0], [3, 2, 2, 4]],
    ("mobile", 0): [[0, 1, 2, 1], [1, 3, 4, 2]],
}
FIELD = {
    ("dense", 0): [[2, 0, 2, 2], [4, 0, 4, 4]],
    ("mobile", 0): [[2, 2, 2, 0], [4, 4, 2, 0]],
}


def outcome(counts, ssim):
    fooled = {
        f"{name} {seed}": [1] * count + [0] * (IMAGES - count)
        for (name, seed), count in zip(VICTIMS, counts, strict=True)
    }
    realism = {measure: [value] * IMAGES for measure, value in UNCHANGED.items()} | {"ssim": [ssim] * IMAGES}
    return {"fooled": fooled, "realism": realism, "forwards": 3.0, "backwards": 2.0}


@pytest.fixture
def analysis():
    outcomes = {
        (label, surrogate): [outcome(counts, ssim) for counts, ssim in zip(rows, (0.9, 0.5), strict=True)]
        for label, table in (("PGD", PGD), ("thin plate", FIELD), ("flow", FIELD), ("polynomial", PGD))
        for surrogate, rows in table.items()
    }
    return SetAnalysis(outcomes, VICTIMS, IMAGES, resamples=40, seed=0)


def test_the_matrix_has_the_level_on_its_diagonal(analysis):
    matrix = analysis.matrix("PGD", 0.5)
    # dense 0: half way between 1 and 3 of 4; mobile 0: all of the first budget, whose success is 2 of 4.
    assert matrix["dense 0"] == pytest.approx({"dense 0": 0.5, "dense 1": 0.375, "mobile 0": 0.25, "mobile 1": 0.5})
    assert matrix["mobile 0"] == pytest.approx({"dense 0": 0.0, "dense 1": 0.25, "mobile 0": 0.5, "mobile 1": 0.25})


def test_transfer_is_the_mean_over_other_architectures(analysis):
    (row,) = matched_rows([analysis], "PGD", [0.5])
    assert row[BLACK_BOX]["value"] == pytest.approx((0.25 + 0.5 + 0.0 + 0.25) / 4)
    assert row[OTHER_SEED]["value"] == pytest.approx((0.375 + 0.25) / 2)
    # dense 0 is half way from 0.9 to 0.5, mobile 0 at 0.9.
    assert row["realism"]["ssim"]["value"] == pytest.approx(0.8)
    assert row["black box less PGD"]["value"] == 0


def test_differences_to_the_reference_are_those_of_the_values(analysis):
    (pgd,), (field,) = (matched_rows([analysis], label, [0.5]) for label in ("PGD", "thin plate"))
    assert field["black box less PGD"]["value"] == pytest.approx(field[BLACK_BOX]["value"] - pgd[BLACK_BOX]["value"])
    assert field["realism"]["ssim less PGD"]["value"] == pytest.approx(
        field["realism"]["ssim"]["value"] - pgd["realism"]["ssim"]["value"]
    )


def test_a_level_that_one_surrogate_does_not_reach_has_no_transfer(analysis):
    (row,) = matched_rows([analysis], "thin plate", [0.8])
    assert row[BLACK_BOX] == {"value": None, "low": None, "high": None}
    matrix = analysis.matrix("thin plate", 0.8)
    assert matrix["mobile 0"] == dict.fromkeys(matrix["mobile 0"])
    assert matrix["dense 0"]["dense 0"] == pytest.approx(0.8)


def test_several_sets_count_the_same(analysis):
    other = SetAnalysis(
        {key: [outcome([4, 4, 4, 4], 0.1)] * 2 for key in analysis.outcomes}, VICTIMS, IMAGES, resamples=40, seed=1
    )
    (row,) = matched_rows([analysis, other], "PGD", [0.5])
    assert row[BLACK_BOX]["value"] == pytest.approx((0.25 + 0.5) / 2)


def test_curves_count_smaller_budgets_and_the_worst_case_every_attack(analysis):
    contender = Contender("PGD", "noise", RandomBiasField())
    first, second = curve_rows(analysis, contender, [0.1, 0.2])
    assert first["success"]["value"] == pytest.approx((1 + 2) / 8)
    assert second["success"]["value"] == pytest.approx((3 + 4) / 8)
    assert second[BLACK_BOX]["value"] == pytest.approx((2 + 4 + 1 + 3) / 16)
    assert (second["forwards"], second["backwards"]) == (3.0, 2.0)
    worst = analysis.worst_case(["PGD", "thin plate"])[:, 0]
    np.testing.assert_allclose(worst, [(2 + 2) / 8, (4 + 4) / 8])


def test_success_at_a_smaller_budget_is_not_lost():
    rows = [outcome(counts, 1.0) for counts in ([3, 0, 0, 0], [1, 0, 0, 0])]
    falling = SetAnalysis({("PGD", ("dense", 0)): rows}, VICTIMS, IMAGES, resamples=5, seed=0)
    _, second = curve_rows(falling, Contender("PGD", "noise", RandomBiasField()), [0.1, 0.2])
    assert second["success"]["value"] == pytest.approx(0.75)
    assert second["success at this budget alone"] == pytest.approx(0.25)


def test_tuning_is_compared_with_the_polynomial_alone(analysis):
    first, second = tuning_rows(analysis, [1.1, 1.2])[:2]
    assert first["contender"] == "thin plate"
    assert first["success less polynomial"]["value"] == pytest.approx((2 + 2) / 8 - (1 + 2) / 8)
    assert second["success less polynomial"]["value"] == pytest.approx((4 + 2) / 8 - (3 + 4) / 8)
