"""The contents of a report: the records of a run, its net, and how the weights of its last snapshot classify the test
data, or which objects they find in it.

If something is not available, because a file is missing or the net has no classes, `notes` has a line about it, and
there is no error.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..language.diagnostics import CompileError
from ..language.errors import NetdefError
from ..language.trust import UNTRUSTED, Trust
from ..training.run_record import RUN
from ..training.saved_run import SavedRun
from .runs import Best, History, read_run, scores_of
from .worst import Found, Worst, WorstRows, found_of

if TYPE_CHECKING:
    from ..graph import Net
    from ..training.solver_nets import Nets

TOLD = {"name": str, "file": str, "settings": dict, "seed": int, "batch": int, "parameters": int, "sittings": list}
SITTING = {
    **{"began": str, "device": str, "ended": str, "from": int, "to": int, "devices": int},
    **{"seconds": (int, float), "machine": dict, "versions": dict},
}
MANY_LAYERS = 60  # above this, each use of a template is drawn as one box


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix of a snapshot: rows are the true classes, columns the predicted ones; and the images that it
    gets most wrong, if the data is images."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    snapshot: str
    worst: tuple[Worst, ...] = ()

    @property
    def right(self) -> int:
        return sum(row[i] for i, row in enumerate(self.counts))

    @property
    def records(self) -> int:
        return sum(map(sum, self.counts))

    def mistakes(self, most: int) -> list[tuple[str, str, int]]:
        """Returns (true class, predicted class, count), the most frequent first."""
        found = [
            (self.names[i], self.names[j], n)
            for i, row in enumerate(self.counts)
            for j, n in enumerate(row)
            if n and i != j
        ]
        return sorted(found, key=lambda m: -m[2])[:most]


@dataclass(frozen=True)
class Facts:
    """All contents of a report."""

    history: History
    told: Mapping[str, Any]  # run.json
    scores: tuple[Best, ...]
    text: str  # of the net's file
    net: Net | None = None
    picture: bytes | None = None  # diagram of the net, SVG
    confusion: Confusion | None = None
    found: Found | None = None
    notes: tuple[str, ...] = field(default=())


def facts_of(folder: str | Path, test: bool = True, trust: Trust = UNTRUSTED) -> Facts:
    """Collects the facts of a run.  `test`: evaluate its test data; without `trust`, nets with Python
    layers are not evaluated.  NetdefError if the folder is not a run."""
    history = read_run(folder)
    told = proper(_json(history.folder / RUN))
    run = SavedRun(history.folder)
    notes = [f"damaged lines of metrics.jsonl that were skipped: {history.damaged}"] if history.damaged else []
    nets = _nets(run, notes, trust)
    judged = _judged(nets, history.folder, notes) if nets and test else None
    return Facts(
        history=history,
        told=told,
        scores=tuple(scores_of(history)),
        text=_text(run.main),
        net=nets.train if nets else None,
        picture=_picture(nets.train, notes) if nets else None,
        confusion=judged if isinstance(judged, Confusion) else None,
        found=judged if isinstance(judged, Found) else None,
        notes=tuple(notes),
    )


def judged_of(folder: Path, trust: Trust = UNTRUSTED) -> tuple[Confusion | Found | None, list[str]]:
    """Returns how the last snapshot of a run does on the test data, and notes on what is not available."""
    nets, notes = nets_of_run(folder, trust)
    return (_judged(nets, folder, notes) if nets else None), notes


def nets_of_run(folder: Path, trust: Trust = UNTRUSTED) -> tuple[Nets | None, list[str]]:
    """Returns the nets of a run, and notes on what is wrong with them."""
    notes: list[str] = []
    return _nets(SavedRun(folder), notes, trust), notes


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def proper(told: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the valid items of a `run.json`, because somebody may have edited it."""

    def chosen(found: Any, shape: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(found, dict):
            return {}
        return {k: v for k, v in found.items() if k in shape and isinstance(v, shape[k]) and v is not True and v == v}

    found = chosen(told, TOLD)
    sittings = [chosen(sitting, SITTING) for sitting in found.get("sittings", ())]
    return found | ({"sittings": [s for s in sittings if s]} if "sittings" in found else {})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _nets(run: SavedRun, notes: list[str], trust: Trust) -> Nets | None:
    """Compiles the nets of the run: from their file if it is unchanged, because it has the templates, which diagrams
    show, or else from the copy in the run's folder."""
    from ..training.solver_nets import nets_of

    if not run.main.is_file():
        notes.append(f"there is no copy of the net in {run.folder}")
        return None
    changed, file = run.changed, run.files[0] if run.files else None
    if changed and file:
        notes.append(f"{file.name} has changed since this run; the report uses the run's copy")
    try:
        net, settings = run.net() if changed is not False or file is None else (file, run.settings)
        return nets_of(net, settings, trust)
    except CompileError as error:
        notes.append(f"the net could not be compiled: {error.diagnostics[0].message}")
    except NetdefError as error:
        notes.append(f"the net could not be compiled: {error}")
    return None


def _picture(net: Net, notes: list[str]) -> bytes | None:
    from ..inspect import draw

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "net.svg"
        try:
            draw.save(net, path, fold=("all",) if len(net.layers) > MANY_LAYERS else (), columns=None)
        except NetdefError as error:
            notes.append("no diagram of the net: " + str(error).partition(": ")[2].partition(";")[0])
            return None
        return path.read_bytes()


def _judged(nets: Nets, folder: Path, notes: list[str]) -> Confusion | Found | None:
    """Returns how the last snapshot does on the test data: a confusion matrix, or the mistakes of a detector."""
    from ..interop import snapshot

    detects = bool(nets.tests) and any(node.layer.detects for node in nets.tests[0].layers)
    what = "images with mistakes" if detects else "confusion matrix"
    path, damaged = snapshot.newest(folder)
    notes += damaged
    if path is None:
        notes.append(f"no {what}: the run has no snapshot")
        return None
    if not nets.tests:
        notes.append(f"no {what}: the solver has no test net")
        return None
    try:
        if detects:
            return found_of(nets.tests[0], path)
        return _counted(nets.tests[0], path, notes)
    except (NetdefError, OSError) as error:
        notes.append(f"no {what}: {str(error).partition(';')[0]}")
        return None


def _counted(net: Net, path: Path, notes: list[str]) -> Confusion:
    from ..inference.predict import Predictor, confusion
    from ..interop import snapshot
    from ..passes.precision import as_computed

    predictor = Predictor(as_computed(net), snapshot.weights(path))
    wrong = WorstRows(predictor)
    counts = confusion(predictor, wrong)
    names = predictor.class_names() or [str(k) for k in range(len(counts))]
    try:
        worst = wrong.worst(names)
    except NetdefError as error:
        notes.append(f"no images with mistakes: {error}")
        worst = ()
    there = [k for k in range(len(counts)) if counts[k].any() or counts[:, k].any()]
    if len(there) < len(counts) // 2:  # for example, a net for 14,700 people and test data of 40
        counts, names = counts[there][:, there], [names[k] if k < len(names) else str(k) for k in there]
    return Confusion(tuple(names), tuple(tuple(int(n) for n in row) for row in counts), path.name, worst)
