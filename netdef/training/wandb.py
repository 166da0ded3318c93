"""A run of Weights & Biases for each run of netdef, in its folder `wandb`: metrics, settings, and the final files.

    netdef.train("model.net", wandb=True)       wandb sync runs/Digits/wandb/offline-run-*

It is written in the offline mode, without an account and a network connection; `wandb sync` uploads it.  Metrics are
named `train/loss`, `test/accuracy` (`test1` and so on for further test nets), by `iteration`.  A resumed run has the
same id, so that both parts become one run.  Weights are not copied.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_text_atomically
from ..lazy import need
from .events import OnEvent, Started
from .solver_nets import Nets
from .tracker import FILES, Tracker, settings_of

ID = "netdef-id"  # the file with the id of the run


class Wandb(Tracker):
    """An event listener that writes a run of Weights & Biases.  NetdefError if wandb is not installed."""

    name = "wandb"
    writes = "the run of Weights & Biases"

    def __init__(self, nets: Nets, folder: Path, report: OnEvent | None = None):
        super().__init__(nets, folder, report)
        self._run: Any = None

    @classmethod
    def require(cls) -> Any:
        return need("wandb", "tracking a run with Weights & Biases")

    def begin(self, event: Started) -> None:
        wandb = self.require()
        self.folder.mkdir(parents=True, exist_ok=True)
        quiet = {"silent": True, "console": "off", "disable_git": True, "disable_code": True, "x_disable_meta": True}
        self._run = wandb.init(
            mode="offline",
            dir=str(self.run.absolute()),
            project=re.sub(r"[^\w\-. ]", "_", event.name or "net")[:128],
            name=self.run.absolute().name,
            id=self._identity(new=not event.resumed_from),
            resume="allow",
            config=settings_of(self.nets, event),
            settings=wandb.Settings(**quiet),
        )
        self._run.define_metric("*", step_metric="iteration")

    def _identity(self, new: bool) -> str:
        """The id of the run, which a resumed run has again."""
        path = self.folder / ID
        if not new and path.exists():
            return path.read_text().strip()
        made = secrets.token_hex(4)
        write_text_atomically(path, made)
        return made

    def log(self, kind: str, iteration: int, row: Mapping[str, float]) -> None:
        self._run.log({"iteration": iteration, **{f"{kind}/{name}": value for name, value in row.items()}})

    def keep(self, snapshot: Path) -> None:
        self._run.summary["snapshot"] = str(snapshot)

    def end(self, interrupted: bool) -> None:
        self._end(int(interrupted))

    def _end(self, code: int) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        for name in FILES:
            if (self.run / name).exists():
                shutil.copy(self.run / name, run.dir)  # whose files are uploaded with the run
        run.finish(exit_code=code)

    def close(self) -> None:
        self._end(1)  # unless it has ended before
