"""The folder of a run, and the handling of a run that is already in it.

A run writes `metrics.jsonl`, its net (`saved_run`), its record and its snapshots to one folder: `output`, or the
solver's `snapshot_prefix`, or `runs/NAME` in the working directory.  Saved files are never overwritten: without
`output` a new run uses the next number (`runs/digits-2`), and the most recent run is the one with the highest number;
an existing run in a given `output` is moved to `output.1`, unless it is resumed. A run in progress is neither moved nor
resumed (`run_lock`).
"""

from __future__ import annotations

import glob
from contextlib import suppress
from pathlib import Path

from ..interop import snapshot
from ..language.errors import NetdefError
from .run_lock import LOCK, locked
from .run_record import RUN, read
from .solver_nets import Nets

METRICS, NET = "metrics.jsonl", "net.prototxt"


def new_folder(nets: Nets, output: str | Path | None) -> tuple[Path, list[str]]:
    """Returns the folder of a new run, which is created if necessary, and a note if a run in it was moved."""
    notes = []
    if output is None:
        path = _free(default_folder(nets))
    else:
        path = Path(output)
        if path.exists() and not path.is_dir():
            raise NetdefError(f"{path} is a file, but the output of a run is a folder; choose another path.")
        if _holds_run(path):
            with locked(path):  # not a run in progress, and not one that another process moves
                moved = path.rename(_numbered(path, "."))
                (moved / LOCK).unlink(missing_ok=True)
            notes.append(f"{path} contained another run, which was moved to {moved}; --resume would have continued it")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NetdefError(f"cannot create the folder {path}: {error.strerror}") from error
    return path, notes


def remove_empty(folder: Path) -> None:
    """Removes the folder of a run that failed before it wrote anything: it would look like a run, and take a number."""
    with suppress(OSError):
        folder.rmdir()


def resumed(nets: Nets, output: str | Path | None, resume: bool | str | Path) -> tuple[Path, Path, list[str]]:
    """(folder, snapshot to resume from, notes on damaged snapshots).  NetdefError if there is no snapshot."""
    if resume is not True:
        given = Path(str(resume))
        if snapshot.is_one(given):
            wrong = snapshot.damage(given)
            if wrong:
                raise NetdefError(
                    f"the snapshot {given} is damaged: {wrong}; resume from {given.parent} to use the one before it."
                )
            return Path(output) if output is not None else given.parent, given, []
        folders = [given]
    elif output is not None:
        folders = [Path(output)]
    else:
        folders = [folder for folder in family(default_folder(nets)) if _may_be_of(folder, nets)]
    notes: list[str] = []
    for folder in folders:
        path, damaged = snapshot.newest(folder)
        notes += damaged
        if path is not None:
            return Path(output) if output is not None else folder, path, notes
    where = folders[0] if folders else default_folder(nets)
    reason = f" ({notes[0]})" if notes else ""
    raise NetdefError(
        f"there is no snapshot to resume from in {where}{reason}; train without resume, or give the folder of the run."
    )


def default_folder(nets: Nets) -> Path:
    """The folder of the first run of a net if no `output` is given."""
    prefix = nets.solver.snapshot_prefix
    if not prefix:
        return Path("runs") / nets.name.replace("/", "_")
    return Path(prefix) / nets.name.replace("/", "_") if prefix.endswith("/") else Path(prefix)


def family(base: Path) -> list[Path]:
    """The folders of runs with this name that have a snapshot, most recent first.  They are sorted by number, because
    the times of files are unreliable: a clock may be set back, and a copy has new times."""
    return sorted((p for p in _taken(base) if snapshot.found(p)), key=lambda p: number_of(p, base), reverse=True)


def _may_be_of(folder: Path, nets: Nets) -> bool:
    """Whether a run may be one of this file: not if it is recorded as that of another file, whose net has the same
    name. The recorded file may have been moved or deleted."""
    file = read(folder / RUN).get("file")
    other = Path(file) if isinstance(file, str) and "\0" not in file else None
    return nets.file is None or other is None or not other.exists() or other.samefile(nets.file)


def _taken(base: Path) -> list[Path]:
    """The existing paths of runs with this name: `base`, `base-2` and so on."""
    others = [p for p in base.parent.glob(f"{glob.escape(base.name)}-*") if number_of(p, base)]
    empty = not base.exists() or (base.is_dir() and not any(base.iterdir()))
    return others if empty else [base, *others]


def number_of(path: Path, base: Path) -> int:
    """1 for `base`, 2 for `base-2`, 0 for a path that is not a run with this name."""
    digits = path.name.removeprefix(f"{base.name}-")
    return 1 if path == base else int(digits) if digits.isdecimal() else 0


def _holds_run(path: Path) -> bool:
    return (path / METRICS).exists() or bool(snapshot.found(path))


def _free(base: Path) -> Path:
    last = max((number_of(p, base) for p in _taken(base)), default=0)
    return base.with_name(f"{base.name}-{last + 1}") if last else base


def _numbered(base: Path, mark: str) -> Path:
    n = 1
    while (path := base.with_name(f"{base.name}{mark}{n}")).exists():
        n += 1
    return path
