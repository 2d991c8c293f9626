"""The study of the bias field attack from end to end on phantoms."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from studies._common.command import main
from studies.bias_field.configuration import QUICK, Configuration, contenders
from studies.bias_field.outcomes import UNCHANGED
from studies.bias_field.study import BiasFieldStudy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("bias_field")
    main(BiasFieldStudy(Configuration()), BiasFieldStudy(QUICK), ["--quick", "--out", str(out)])
    yield out
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_attacks_do_what_they_must_on_networks_that_learnt(results):
    assert min(row["accuracy"] for row in results["networks"]) > 0.6
    success = {(row["contender"], row["budget"]): row["success"]["value"] for row in results["curves"]}
    small, large = QUICK.subjects[0].eps
    assert success["PGD", large] == 1
    for label in ("PGD", "MI-FGSM", "TI-FGSM", "DI-FGSM"):
        assert success["random noise", small] < success[label, small] <= success[label, large]
    for label in ("thin plate", "flow", "polynomial", "B-spline"):
        assert success["random field", QUICK.subjects[0].gains[0]] < success[label, QUICK.subjects[0].gains[0]]


def test_every_attack_keeps_its_budget_and_its_calls(results):
    iterative = [row for row in results["curves"] if not row["contender"].startswith("random")]
    assert {row["backwards"] for row in iterative} == {QUICK.steps}
    passes = {row["contender"]: row["forwards"] for row in iterative}
    # The clean image, one per step and the last look; the first step of those that start at the clean image is shared.
    at_the_image = ("thin plate", "flow", "polynomial", "MI-FGSM", "TI-FGSM")
    assert {passes.pop(label) for label in at_the_image} == {QUICK.steps + 1}
    assert {asked for label, asked in passes.items() if label != "DI-FGSM"} == {QUICK.steps + 2}


def test_noise_is_rougher_than_fields_at_the_same_success(results):
    rough = {
        row["contender"]: row["realism"]["variation"]["value"] for row in results["matched"] if row["level"] == 0.5
    }
    assert max(rough[label] for label in ("thin plate", "flow", "polynomial", "B-spline")) < rough["PGD"]


def test_matrices_have_the_level_on_their_diagonal(results):
    for row in results["matrices"]:
        for surrogate, fooled in row["fooled"].items():
            assert fooled[surrogate] in (None, pytest.approx(row["level"]))


def test_findings_and_figures_are_there(folder, results):
    text = (folder / "findings.md").read_text()
    for contender in contenders(QUICK, 32):
        assert f"| {contender.label} |" in text
    assert "nan" not in text.lower().split()
    figures = sorted(path.name for path in folder.glob("*.svg"))
    assert figures == ["realism.svg", "success.svg", "transfer-50.svg", "transfer-80.svg"]
    for name in figures:
        root = ElementTree.fromstring((folder / name).read_text())
        assert root.tag.endswith("svg")
        assert not [element for element in root.iter() if element.tag.endswith("script")]


def test_a_second_run_reads_what_the_first_computed(folder, results, monkeypatch, tmp_path):
    def refuse(*arguments):
        raise AssertionError("computed again")

    monkeypatch.setattr("studies.bias_field.outcomes._computed", refuse)
    again = BiasFieldStudy(QUICK).run(None, folder, folder / "networks", lambda doing, share: None)
    assert json.loads(json.dumps(again)) == {key: value for key, value in results.items() if key != "circumstances"}


def test_progress_rises_to_the_end(folder):
    shares = []
    BiasFieldStudy(QUICK).run(None, folder, folder / "networks", lambda doing, share: shares.append(share))
    assert shares == sorted(shares)
    assert shares[0] < 0.4
    assert 0.95 < shares[-1] < 1


def test_realism_of_no_change_is_what_mixtures_take_for_it():
    from medadv.metrics.realism import NaturalSceneModel, natural_scene_features
    from studies.bias_field.outcomes import _realism

    images = QUICK.subjects[0].source.read(None)
    training, test = (torch.from_numpy(part.images) for part in (images.training, images.test))
    model = NaturalSceneModel.fit(natural_scene_features(training))
    measured = _realism(model, test[:3], test[:3])
    assert measured.keys() == UNCHANGED.keys()
    for measure, values in measured.items():
        np.testing.assert_allclose(values, UNCHANGED[measure], atol=1e-12)


def test_the_translation_kernel_shrinks_with_the_image():
    of = Configuration()
    wide, narrow = (
        next(each.attack for each in contenders(of, size) if each.label == "TI-FGSM").gradient.translation
        for size in (299, 64)
    )
    assert wide == pytest.approx(7 / 3)
    assert narrow == pytest.approx(7 / 3 * 64 / 299)


def test_real_images_need_a_folder(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(BiasFieldStudy(Configuration()), BiasFieldStudy(QUICK), ["--out", str(tmp_path)])
    assert "--data is needed" in capsys.readouterr().err
