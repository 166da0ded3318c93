"""The profile of a run: its trace names the layers, and tracing does not change the result."""

from __future__ import annotations

import gzip
import json
import os

import jax
import pytest

import netdef
from netdef import NetdefError
from netdef.training import events as ev
from netdef.training.layer_trace import finder

QUIET = {"solver.snapshot": 0, "solver.test_interval": 0, "solver.test_iter": []}


def test_a_profile_names_the_layers(tiny, tmp_path):
    events = []
    more = {"set": QUIET, "on_event": events.append}
    traced = netdef.train(tiny, output=tmp_path / "run", profile=tmp_path / "prof", **more)
    texts = [event.text for event in events if isinstance(event, ev.Notice)]
    assert texts[0].startswith("profile of iterations 1") and "%" in texts[0]
    assert f"open {tmp_path}/prof/layers.json.gz at" in texts[1] and f"xprof --logdir {tmp_path}/prof" in texts[2]
    trace = json.loads(gzip.decompress((tmp_path / "prof" / "layers.json.gz").read_bytes()))["traceEvents"]
    layers = {event["name"] for event in trace if event.get("cat") == "layer"}
    assert layers & {"ip1", "ip2"} and layers & {"ip1 (backward)", "ip2 (backward)"}
    (file,) = (tmp_path / "prof").glob("plugins/profile/*/*.xplane.pb")
    (host,) = (plane for plane in jax.profiler.ProfileData.from_file(str(file)).planes if plane.name == "/host:CPU")
    threads = [list(line.events) for line in host.lines if line.name == "layers"]
    names = {event.name for events in threads for event in events}
    assert names & {"ip1:InnerProduct", "ip2:InnerProduct"}  # as XProf expects the names of operations on a host
    assert names & {"ip1/backward:InnerProduct", "ip2/backward:InnerProduct"}
    slices = sum(event["dur"] for event in trace if event.get("cat") == "layer")
    assert sum(event.duration_ns for events in threads for event in events) == pytest.approx(1000 * slices, rel=1e-3)
    assert len(list(host.lines)) > len(threads), "the lines of jax are still there"
    earlier = tmp_path / "prof" / "plugins" / "profile" / "2099" / "host.xplane.pb"  # the clock was set back since
    earlier.parent.mkdir()
    earlier.write_bytes(b"")
    os.utime(earlier, (4e9, 4e9))
    netdef.train(tiny, output=tmp_path / "again", profile=tmp_path / "prof", **more)
    assert "%" in [event.text for event in events if isinstance(event, ev.Notice)][len(texts)]
    plain = netdef.train(tiny, output=tmp_path / "plain", **more)
    losses = lambda result: [row["loss"] for row in result.history]
    assert losses(traced) == losses(plain)


def test_a_run_that_is_too_short_has_no_profile(tiny, tmp_path):
    events = []
    netdef.train(
        tiny, output=tmp_path / "run", max_iter=1, set=QUIET, profile=tmp_path / "prof", on_event=events.append
    )
    assert any("no profile: the run ended" in event.text for event in events if isinstance(event, ev.Notice))


def test_a_profile_needs_a_folder(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NetdefError, match="the profile cannot be made"):
        netdef.train(tiny, output=tmp_path / "run", set=QUIET, profile=tmp_path / "file" / "prof")


def test_the_layer_of_an_operation_is_in_its_path():
    find = finder(["conv1", "conv1/bn", "a(b)"])
    assert find("jit(run)/jvp(conv1)/cond/conv") == "conv1"
    assert find("jit(run)/while/body/transpose(jvp(conv1/bn))/mul") == "conv1/bn (backward)"
    assert find("jit(run)/jvp(a(b))/mul") == "a(b)"
    assert find("jit(run)/jvp(conv10)/mul") == find("jit(run)/mul") == "other operations"
    assert finder([])("jit(run)/x") == "other operations"
