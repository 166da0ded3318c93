"""The contract of all layer types, checked with their examples (see support/contract.py).

All registered types are tested, including new ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from contract import hold_channels_last, hold_decoding, hold_documentation, hold_gradients, hold_shapes

from netdef.layers.base import LAYERS, Example

TYPES = {cls.type: cls for _, cls in LAYERS if cls.__module__.startswith("netdef.")}
EXAMPLES = {f"{name}-{i}": example for name, cls in TYPES.items() for i, example in enumerate(cls.examples)}
RUNNING = {key: example for key, example in EXAMPLES.items() if TYPES[key.rpartition("-")[0]].runs}

every_example = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
every_running_example = pytest.mark.parametrize("example", RUNNING.values(), ids=RUNNING.keys())


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary working directory, because some layers write files."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", TYPES)
def test_is_documented(name: str) -> None:
    hold_documentation(TYPES[name])


@every_example
def test_decodes_what_it_prints(example: Example) -> None:
    hold_decoding(example)


@every_running_example
def test_infers_what_it_computes(example: Example) -> None:
    hold_shapes(example)


@every_running_example
def test_gradients_agree_with_finite_differences(example: Example) -> None:
    hold_gradients(example)


@every_running_example
def test_channels_last_change_nothing(example: Example) -> None:
    hold_channels_last(example)
