from __future__ import annotations

import subprocess
import sys

import pytest

from medadv._optional import require


def test_it_returns_the_submodule() -> None:
    assert require("xml.dom.minidom", extra="lab").__name__ == "xml.dom.minidom"


def test_an_absent_library_names_the_extra_on_one_line() -> None:
    with pytest.raises(ImportError) as caught:
        require("surely_absent.inner", extra="medical")
    assert str(caught.value) == 'surely_absent is not installed: pip install "medadv[medical]"'


def test_a_broken_library_keeps_its_own_error(tmp_path, monkeypatch) -> None:
    (tmp_path / "broken_library.py").write_text("import surely_absent")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="surely_absent") as caught:
        require("broken_library", extra="lab")
    assert "pip install" not in str(caught.value)


def test_reading_modules_import_neither_torch_nor_the_optional_libraries() -> None:
    program = "import sys, medadv.data; print(sorted({'torch', 'PIL', 'pydicom'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
