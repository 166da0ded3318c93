"""The folder of a run, and the handling of a run that is already in it.

A run writes `metrics.jsonl`, `net.prototxt` and its snapshots to one folder: `output`, or the solver's
`snapshot_prefix`, or `runs/NAME` in the working directory.  Saved files are never overwritten: without `output` a new
run uses the next free name (`runs/digits-2`); an existing run in a given `output` is moved to `output.1`, unless it is
resumed.
"""

from __future__ import annotations

from pathlib import Path

from ..interop import snapshot
from ..language.errors import NetdefError
from .solver_nets import Nets

METRICS, NET = "metrics.jsonl", "net.prototxt"


def new_folder(nets: Nets, output: str | Path | None) -> tuple[Path, list[str]]:
    """Returns the folder of a new run, which is created if necessary, and a note if a run in it was moved."""
    notes = []
    if output is None:
        path = _free(_base(nets))
    else:
        path = Path(output)
        if path.exists() and not path.is_dir():
            raise NetdefError(f"{path} is a file, but the output of a run is a folder; choose another path.")
        if _holds_run(path):
            moved = path.rename(_numbered(path, "."))
            notes.append(f"{path} contained another run, which was moved to {moved}; --resume would have continued it")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NetdefError(f"cannot create the folder {path}: {error.strerror}") from error
    return path, notes


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
        folders = _family(_base(nets))
    notes: list[str] = []
    for folder in folders:
        path, damaged = snapshot.newest(folder)
        notes += damaged
        if path is not None:
            return Path(output) if output is not None else folder, path, notes
    where = folders[0] if folders else _base(nets)
    reason = f" ({notes[0]})" if notes else ""
    raise NetdefError(
        f"there is no snapshot to resume from in {where}{reason}; train without resume, or give the folder of the run."
    )


def _base(nets: Nets) -> Path:
    prefix = nets.solver.snapshot_prefix
    if not prefix:
        return Path("runs") / nets.name.replace("/", "_")
    return Path(prefix) / nets.name.replace("/", "_") if prefix.endswith("/") else Path(prefix)


def _family(base: Path) -> list[Path]:
    """The folders of runs with this name, most recent first."""
    others = [p for p in base.parent.glob(f"{base.name}-*") if p.name.removeprefix(base.name + "-").isdigit()]
    runs = [p for p in (base, *others) if snapshot.found(p)]
    return sorted(runs, key=lambda p: snapshot.found(p)[0].stat().st_mtime, reverse=True)


def _holds_run(path: Path) -> bool:
    return (path / METRICS).exists() or bool(snapshot.found(path))


def _free(base: Path) -> Path:
    taken = base.exists() and (not base.is_dir() or any(base.iterdir()))
    return _numbered(base, "-", 2) if taken else base


def _numbered(base: Path, mark: str, first: int = 1) -> Path:
    n = first
    while (path := base.with_name(f"{base.name}{mark}{n}")).exists():
        n += 1
    return path
