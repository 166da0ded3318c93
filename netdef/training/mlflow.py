"""An MLflow run for each run of netdef, in its folder `mlflow`: metrics, settings, and the final files.

    netdef.train("model.net", mlflow=True)      mlflow ui --backend-store-uri sqlite:///runs/Digits/mlflow/mlflow.db

The store is a SQLite file and a folder, so no server is needed.  Metrics are named `train/loss`, `test/accuracy`
(`test1` and so on for further test nets).  A resumed run continues its MLflow run.  Weights are not copied: the tag
`snapshot` is the path of the last one.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..lazy import need
from .events import OnEvent, Started
from .solver_nets import Nets
from .tracker import FILES, Tracker, settings_of

DATABASE = "mlflow.db"
MOST_PARAMS = 100  # of one call, by MLflow's limits
LONGEST = 500  # characters of a setting


class Mlflow(Tracker):
    """An event listener that writes an MLflow run.  NetdefError if mlflow is not installed."""

    name = "mlflow"
    writes = "the MLflow run"

    def __init__(self, nets: Nets, folder: Path, report: OnEvent | None = None):
        super().__init__(nets, folder, report)
        self._client: Any = None
        self._id = ""

    @classmethod
    def require(cls) -> Any:
        for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):  # read when it is imported
            os.environ.setdefault(name, "true")
        return need("mlflow", "tracking a run with MLflow")

    def begin(self, event: Started) -> None:
        mlflow = self.require()
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)  # of the tables that it creates
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder.absolute()
        self._client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{(place / DATABASE).as_posix()}")
        name = event.name or "net"
        known = self._client.get_experiment_by_name(name)
        of = known.experiment_id if known else self._client.create_experiment(name, (place / "artifacts").as_uri())
        before = self._client.search_runs([of], max_results=1) if event.resumed_from else []
        if before:
            self._id = before[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            self._id = self._client.create_run(of, run_name=self.run.absolute().name).info.run_id
            facts = [(_named(k), str(v)[:LONGEST]) for k, v in settings_of(self.nets, event).items()]
            params = [mlflow.entities.Param(key, value) for key, value in facts]
            for begin in range(0, len(params), MOST_PARAMS):
                self._client.log_batch(self._id, params=params[begin : begin + MOST_PARAMS])

    def log(self, kind: str, iteration: int, row: Mapping[str, float]) -> None:
        metric, now = self.require().entities.Metric, int(time.time() * 1000)
        values = [metric(f"{kind}/{_named(name)}", value, now, iteration) for name, value in row.items()]
        self._client.log_batch(self._id, metrics=values)

    def keep(self, snapshot: Path) -> None:
        self._client.set_tag(self._id, "snapshot", str(snapshot))

    def end(self, interrupted: bool) -> None:
        self._end("KILLED" if interrupted else "FINISHED")

    def _end(self, status: str) -> None:
        if not self._id:
            return
        for name in FILES:
            if (self.run / name).exists():
                self._client.log_artifact(self._id, str(self.run / name))
        self._client.set_terminated(self._id, status)
        self._id = ""

    def close(self) -> None:
        self._end("FAILED")  # unless it has ended before


def _named(text: str) -> str:
    """A name that MLflow accepts."""
    return re.sub(r"[^\w\-. :/]", "_", text)
