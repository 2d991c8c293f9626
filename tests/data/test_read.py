from __future__ import annotations

import os

import numpy as np
import pytest

from medadv.data import DataError, read_images


def test_a_missing_path() -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        read_images("nowhere")


def test_a_file_that_is_no_npz(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"a\.csv: a folder with one sub-folder per class or an \.npz file expected"):
        read_images(tmp_path / "a.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(DataError, match="expected"):
        read_images(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"size": (0, 4)}, "size must be two or three whole numbers"),
        ({"size": (4, 4, 4, 4)}, "size must be two or three whole numbers"),
        ({"size": (4.0, 4)}, "size must be two or three whole numbers"),
        ({"size": (4, 100_000)}, "size must be two or three whole numbers"),
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        ({"window": (40, 0)}, "width above 0"),
        ({"window": (float("nan"), 1)}, "window must be"),
        ({"window": (1,)}, "window must be"),
        ({"bounds": (1, 1)}, "bounds must be"),
        ({"bounds": (0, float("inf"))}, "bounds must be"),
        ({"bounds": (0, 1), "window": (1, 2)}, "window and bounds must not both"),
        ({"clip": True}, "clip must come with the bounds"),
        ({"orientation": "RA"}, "orientation must name a side"),
        ({"orientation": "RLS"}, "orientation must name a side"),
        ({"orientation": "ras"}, "orientation must name a side"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_images(tmp_path, **arguments)


def test_a_window_for_npz_is_refused(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", test_images=np.zeros((2, 4, 4), np.uint8), test_labels=np.array([0, 1]))
    with pytest.raises(DataError, match="applies to DICOM"):
        read_images(str(tmp_path / "a.npz"), window=(40, 400))
