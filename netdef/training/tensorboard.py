"""TensorBoard events of a run, in its folder `tensorboard`, with the contents of `metrics.jsonl`.

    netdef.train("model.net", tensorboard=True)          tensorboard --logdir runs

Displays are written to `tensorboard/train`, tests to `tensorboard/test` (`test1` and so on for further test nets), with
the same names, so that TensorBoard plots the loss of both in one chart.  The net is included as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..lazy import need
from .events import Display, Event, Finished, Started, Tested
from .metrics import record

FOLDER = "tensorboard"
NO_SCALARS = ("iteration", "phase", "net")


class TensorBoard:
    """An event listener that writes TensorBoard events.  NetdefError if tensorboardX is not installed."""

    def __init__(self, folder: Path, text: str = ""):
        self._writer_class = writer_class()
        self.folder, self.text = folder / FOLDER, text
        self.begin = 0
        self._writers: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self.begin = event.iteration
                self._writer("train").add_text("net", f"```\n{self.text}\n```", event.iteration)
            case Display():
                self._add("train", event.iteration, record(event))
            case Tested():
                self._add(f"test{event.net or ''}", event.iteration, record(event))
            case Finished():
                self.close()

    def _add(self, kind: str, iteration: int, row: Mapping[str, Any]) -> None:
        writer = self._writer(kind)
        for name, value in row.items():
            if name in NO_SCALARS:
                continue
            if isinstance(value, list):
                for i, one in enumerate(value):
                    writer.add_scalar(f"{name}/{i}", one, iteration)
            else:
                writer.add_scalar(name, value, iteration)

    def _writer(self, kind: str) -> Any:
        if kind not in self._writers:
            # hides the events of an interrupted run after its last snapshot, because the resumed run repeats them
            purge = self.begin or None
            # tensorboardX names a file by the second: a run that is resumed within it would overwrite the file
            self._writers[kind] = self._writer_class(
                str(self.folder / kind), purge_step=purge, flush_secs=10, filename_suffix=f".{self.begin:09d}"
            )
        return self._writers[kind]

    def close(self) -> None:
        """Writes all events to disk and closes the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


def writer_class() -> Any:
    """The class that writes event files.  NetdefError if tensorboardX is not installed."""
    return need("tensorboardX", "writing TensorBoard events").SummaryWriter
