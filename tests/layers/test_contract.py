"""The contract of all layer types, checked with their examples (see support/contract.py).

All registered types are tested, including new ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from contract import hold_channels_last, hold_decoding, hold_documentation, hold_gradients, hold_shapes, net_of

from netdef.layers.base import LAYERS, Example

TYPES = {cls.type: cls for _, cls in LAYERS if cls.__module__.startswith("netdef.")}
EXAMPLES = {f"{name}-{i}": example for name, cls in TYPES.items() for i, example in enumerate(cls.examples)}

every_example = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())


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


@every_example
def test_infers_what_it_computes(example: Example) -> None:
    hold_shapes(example)


@every_example
def test_gradients_agree_with_finite_differences(example: Example) -> None:
    hold_gradients(example)


@every_example
def test_channels_last_change_nothing(example: Example) -> None:
    hold_channels_last(example)


def test_layers_of_detections_say_so() -> None:
    """Rows of 7 values, whose number only the forward pass knows, are detections: predictions and exports look for
    them."""
    for name, cls in TYPES.items():
        for example in cls.examples:
            if cls.pads_rows and not cls.is_metric:
                net = net_of(example, "TEST")
                shape = net.shapes[net.layers[-1].tops[0]]
                assert cls.detects == (shape[-1] == 7), name
