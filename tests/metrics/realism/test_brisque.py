"""The BRISQUE regression against scikit-learn's, through files in the format of LIBSVM that are written here."""

import numpy as np
import pytest
import torch
from sklearn import svm

from medadv.metrics.realism import BrisqueModel, natural_scene_features


def write_model(path, vectors, weights, gamma, rho):
    lines = ["svm_type epsilon_svr", "kernel_type rbf", f"gamma {gamma:.17g}", "nr_class 2"]
    lines += [f"total_sv {len(weights)}", f"rho {rho:.17g}", "SV"]
    for weight, vector in zip(weights, vectors, strict=True):
        # As svm-train: zeros are left out.
        lines.append(" ".join([f"{weight:.17g}", *(f"{k}:{value:.17g}" for k, value in enumerate(vector, 1) if value)]))
    path.write_text("\n".join(lines) + "\n")


def write_ranges(path, lowest, highest, ends=(-1, 1)):
    rows = [f"{k} {a:.17g} {b:.17g}" for k, (a, b) in enumerate(zip(lowest, highest, strict=True), 1)]
    path.write_text("\n".join(["x", f"{ends[0]} {ends[1]}", *rows]) + "\n")


@pytest.fixture(scope="module")
def fitted():
    """Features of noisy images, and a regression of scikit-learn from them to the amount of noise."""
    draw = np.random.default_rng(0)
    amount = draw.uniform(0.02, 0.5, 40)
    y, x = np.mgrid[0:1:32j, 0:1:32j]
    scene = 0.5 + 0.3 * np.sin(7 * x) * np.cos(5 * y)
    images = np.clip(scene + amount[:, None, None] * draw.normal(size=(40, 32, 32)), 0, 1)[:, None]
    images = torch.from_numpy(images)
    features = natural_scene_features(images).numpy()
    lowest, highest = features.min(0), features.max(0)
    scaled = 2 * (features - lowest) / (highest - lowest) - 1
    regression = svm.SVR(gamma=0.05, C=100.0).fit(scaled, 100 * amount)
    return images, features, lowest, highest, scaled, regression


@pytest.fixture
def files(fitted, tmp_path):
    _, _, lowest, highest, _, regression = fitted
    write_model(
        tmp_path / "allmodel", regression.support_vectors_, regression.dual_coef_[0], 0.05, -regression.intercept_[0]
    )
    write_ranges(tmp_path / "allrange", lowest, highest)
    return tmp_path / "allmodel", tmp_path / "allrange"


def test_scores_are_those_of_scikit_learn(fitted, files):
    images, features, _, _, scaled, regression = fitted
    model = BrisqueModel.read(*files)
    expected = regression.predict(scaled)
    np.testing.assert_allclose(model.score_features(torch.from_numpy(features)), expected, rtol=1e-9)
    np.testing.assert_allclose(model.score(images), expected, rtol=1e-9)
    np.testing.assert_allclose(model.score(-1024 + 4095 * images, (-1024.0, 3071.0)), expected, rtol=1e-6)
    noisier = model.score((images[:1] + 0.2 * torch.randn_like(images[:1])).clamp(0, 1))
    assert float(noisier) > expected[0]


def test_other_ends_and_features_without_a_range(fitted, files, tmp_path):
    _, features, lowest, highest, _, regression = fitted
    write_ranges(tmp_path / "allrange", lowest, highest, ends=(0, 2))
    lines = (tmp_path / "allrange").read_text().splitlines()
    # svm-scale leaves out features that never change, and gives 0 for those that are the same everywhere.
    lines[2 + 4] = "5 0.25 0.25"
    del lines[2 + 9]
    (tmp_path / "allrange").write_text("\n".join(lines))
    scaled = 2 * (features - lowest) / (highest - lowest)
    scaled[:, [4, 9]] = 0
    found = BrisqueModel.read(tmp_path / "allmodel", tmp_path / "allrange").score_features(torch.from_numpy(features))
    np.testing.assert_allclose(found, regression.predict(scaled), rtol=1e-9)


def test_features_of_another_length(files):
    with pytest.raises(ValueError, match=r"features must be \[N, 36\], got \[2, 35\]"):
        BrisqueModel.read(*files).score_features(torch.zeros(2, 35))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epsilon_svr", "c_svc", "got c_svc with kernel rbf"),
        ("kernel_type rbf", "kernel_type linear", "got epsilon_svr with kernel linear"),
        ("gamma 0.050000000000000003", "gamma nan", "gamma of the header must be a finite number, got 'nan'"),
        ("gamma 0.050000000000000003", "gamma -1", "gamma must be above 0"),
        ("gamma 0.050000000000000003\n", "", "gamma of the header must be a finite number, got ''"),
        ("nr_class 2", "nr_class", "line 4 of the header is not a word and its value"),
        ("total_sv ", "total_sv 1", "support vectors, and there are"),
        ("SV\n", "", "has a line SV before"),
        (" 3:", " 37:", "must number its features from 1 to 36, got '37'"),
        (" 3:", " x:", "from 1 to 36, got 'x'"),
        (" 3:", " 3:__import__", "must be a finite number, got '__import__"),
    ],
)
def test_wrong_models(files, old, new, words):
    text = files[0].read_text()
    changed = text.replace(old, new, 1) if old != "SV\n" else text.replace("\nSV\n", "\n")
    assert changed != text
    files[0].write_text(changed)
    with pytest.raises(ValueError, match="allmodel: .*" + words):
        BrisqueModel.read(*files)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "whose first line is x"),
        ("y\n-1 1\n1 0 1\n", "whose first line is x"),
        ("x\n1 -1\n1 0 1\n", "line 2 must be two numbers that rise"),
        ("x\n-1\n1 0 1\n", "line 2 must have 2 values, got 1"),
        ("x\n-1 1\n1 0\n", "line 3 must have 2 values, got 1"),
        ("x\n-1 1\n1 2 1\n", "line 3 has a lowest value above the highest"),
        ("x\n-1 1\n0 0 1\n", "from 1 to 36, got '0'"),
        ("x\n-1 1\n1 0 inf\n", "line 3 must be a finite number, got 'inf'"),
    ],
)
def test_wrong_ranges(files, text, words):
    files[1].write_text(text)
    with pytest.raises(ValueError, match="allrange: .*" + words):
        BrisqueModel.read(*files)


def test_files_that_are_no_text(files, tmp_path):
    (tmp_path / "b").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ValueError, match="not a text file of LIBSVM"):
        BrisqueModel.read(tmp_path / "b", files[1])
    with pytest.raises(ValueError, match="nowhere: cannot be read"):
        BrisqueModel.read(tmp_path / "nowhere", files[1])
