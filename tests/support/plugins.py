"""Classes from outside the package, as a user has them: in a file beside the net, or in an installed distribution."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import netdef


def make_distribution(folder: Path, module: str, entry_points: str) -> None:
    """Turns a folder that contains `module` into an installed distribution with these entry points."""
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


def command(folder: Path, *words: str, installed: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `netdef words...` in the folder; `installed` is a folder with a distribution."""
    here = [str(Path(netdef.__file__).parents[1]), *([str(installed)] if installed else [])]
    path = os.pathsep.join([*here, os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "netdef", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
