"""A few turns of the program that kills processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "kill.py"


def test_a_killed_training_is_resumed_to_the_same_weights():
    command = [sys.executable, str(PROGRAM), "--training", "3", "--files", "0", "--iterations", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("training: 3 kills, 0 failures") and done.stdout.endswith("no failure\n")
