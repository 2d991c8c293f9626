"""Unpack the private chest X-ray pack into the folders that examples/train_chest_xray.py reads.

    python tests/examples/export_chest_xray.py OUT

writes OUT/train and OUT/test, each with normal/ and pneumonia/, files named PATIENT_NUMBER.png. Patients are
held apart: a hash of the patient puts a quarter of them into the test part. The pack is read from the folder
in MEDADV_DATA, or from ../shared/data beside the repository.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import numpy as np

TEST_SHARE = 0.25


def data_folder() -> Path:
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    return Path(os.environ.get("MEDADV_DATA", beside))


def pack() -> Path:
    return data_folder() / "A_cxr" / "kermany3.npz"


def export(out: Path, limit: int | None = None) -> None:
    """Write the first `limit` images of the pack (None: all)."""
    with np.load(pack(), allow_pickle=False) as archive:
        png, offset = archive["png"], archive["png_offset"]
        labels, patients = archive["m_label"], archive["m_patient"]
    for index in range(len(labels))[:limit]:
        patient = str(patients[index])
        share = int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) / 2**32
        part = "test" if share < TEST_SHARE else "train"
        folder = out / part / ("pneumonia" if int(labels[index]) > 0 else "normal")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{patient}_{index}.png").write_bytes(png[offset[index] : offset[index + 1]].tobytes())


if __name__ == "__main__":
    export(Path(sys.argv[1]))
