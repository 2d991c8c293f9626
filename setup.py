"""Hands the compiled part to CMake; everything else is in pyproject.toml."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def find_torch() -> Path | None:
    """The installed torch; also from pip's isolated build environment, whose purelib is the real one."""
    for site in (*sys.path, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        torch = Path(site) / "torch"
        if (torch / "include/torch/csrc/stable/library.h").exists():
            return torch
    return None


class CMakeBuild(build_ext):
    """Configure, build and install with CMake."""

    def run(self) -> None:
        torch = find_torch()
        if torch is None:
            raise SystemExit("medadv builds against torch >= 2.10: pip install torch, then install medadv again.")
        build = ROOT / "build" / sysconfig.get_platform() / sys.implementation.cache_tag
        prefix = ROOT if self.inplace else Path(self.build_lib).resolve()
        configure = ["cmake", "-S", ROOT, "-B", build, "-G", "Ninja"]
        # Named anew on every run: pip's isolated environments come and go, CMake's cache stays.
        configure += [
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DMEDADV_TORCH_DIR={torch}",
            f"-DCMAKE_MAKE_PROGRAM={shutil.which('ninja')}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            *os.environ.get("CMAKE_ARGS", "").split(),
        ]
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", build], check=True)
        subprocess.run(["cmake", "--install", build, "--prefix", prefix, "--strip"], check=True)

    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}


setup(
    ext_modules=[Extension("medadv._core", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
    # An isolated build borrows the installed torch; only a machine without one downloads it here.
    setup_requires=[] if find_torch() else ["torch>=2.10"],
)
