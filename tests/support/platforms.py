"""The forms of TPUs, run on the CPU, and the programs that a platform would get, without it."""

from __future__ import annotations

from typing import Any

import jax
import pytest

from netdef.lazy import lax

ACCELERATORS = ("tpu", "cuda")


@pytest.fixture(params=["cpu", "tpu"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with the forms for CPUs, and again with those for TPUs."""
    if request.param == "tpu":
        monkeypatch.setattr(lax, "platform_dependent", lambda *arrays, default, **others: default(*arrays))
    return request.param


def program(function: Any, *arguments: Any, platform: str) -> str:
    """Returns the StableHLO program of a function for a platform, which need not exist here."""
    jitted = function if hasattr(function, "trace") else jax.jit(function)
    return jitted.trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
