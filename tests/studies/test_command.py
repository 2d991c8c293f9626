"""The studies as programs."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import runpy, sys
from medadv.cli import threads
threads.share_the_cores = lambda: print("asked to share, torch is there:", "torch" in sys.modules)
sys.argv = ["study", "--help"]
runpy.run_module("studies.{study}", run_name="__main__")
"""


@pytest.mark.parametrize("study", ["bias_field", "stabilised"])
def test_waiting_threads_sleep(study):
    """Else two threads on two busy cores take many times as long as one."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", CODE.format(study=study)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("asked to share, torch is there: False\n")
    assert "--quick" in done.stdout
