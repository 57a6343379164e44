"""The demo does what it prints: 1,797 digits, a trained model, and the accuracy it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_demo_reaches_the_accuracy_it_promises(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "digits.py"), "--folder", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1,797 raw items found = 1,797 added" in done.stdout
    accuracy = re.search(r"validation accuracy (\d\.\d+) on 180 held-out digits", done.stdout)
    assert accuracy is not None
    assert float(accuracy[1]) >= 0.95
    for place in ("data/shards", "data/manifest.csv", "digits.keras"):
        assert (tmp_path / "demo" / place).exists()
        assert str(tmp_path / "demo" / place) in done.stdout
