"""Speed of the front end: whole processes of `netdef check` and `netdef fmt`, and each stage compared with protobuf.

usage: python tests/benchmarks/frontend.py [RUNS]        (default: the best of 10)

All times are CPU time (user and system) in milliseconds, which depends little on other load; the first line is a
reference for the current speed of the CPU.  ResNet-152 is read as examples/resnet152.net (38 lines) and as the
equivalent prototxt; 1 MB is ten copies of it without indentation.  Modules are compiled beforehand, as pip does.
protobuf's text_format (Python, with messages in C) only parses and checks names and types of fields.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from caffe_schema import message

from netdef.cli.expand import net_of
from netdef.compiler import Parsed, build_net, plain_tree
from netdef.language.diagnostics import Report
from netdef.language.expansion.expand import expand
from netdef.language.formatter import format
from netdef.language.parsing.parser import parse
from netdef.language.printer import print_message
from netdef.language.source import Source
from netdef.layers.base import Phase
from netdef.passes.decode import decode_program
from netdef.passes.select import State

SHORT = Path(__file__).parents[2] / "examples" / "resnet152.net"


def process(runs: int, env: dict[str, str], *words: str, stdin: Path | None = None) -> float:
    """Returns the CPU milliseconds of the best run of a command."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    best = float("inf")
    for _ in range(runs + 1):  # the first compiles the modules
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(stdin or os.devnull) as given:
            subprocess.run([sys.executable, *words], env=env, check=True, stdin=given, **quiet)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1e3 * best


def stage(runs: int, work: Callable[[], Any]) -> float:
    """Returns the CPU milliseconds of the best run of a function."""
    best = float("inf")
    for _ in range(runs):
        gc.collect()
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return 1e3 * best


def protobuf(text: str) -> Callable[[], Any] | None:
    try:
        from google.protobuf import text_format
    except ImportError:
        return None
    made = message("NetParameter")
    return lambda: text_format.Parse(text, made())


def stages(name: str, source: Source, runs: int) -> None:
    """Times each stage of the front end and prints a line for it."""
    document = parse(source, Report())
    assert document is not None
    tree = plain_tree(source, Report()).body
    program = decode_program(tree, Report())
    work: dict[str, Callable[[], Any]] = {
        "parse": lambda: parse(source, Report()),
        "expand": lambda: expand(document, Report()),
        "decode": lambda: decode_program(tree, Report()),
        "connect, infer, check": lambda: build_net(Parsed(program, source, Report()), State(Phase.TRAIN)),
        "format": lambda: format(document),
    }
    for what, function in work.items():
        print(f"  {name:12}{what:24}{stage(runs, function):9.1f}")


def main(runs: int) -> None:
    document = parse(Source.read(SHORT), Report())
    assert document is not None
    text = print_message(net_of(expand(document, Report()).body))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = dict(os.environ, PYTHONPYCACHEPREFIX=str(folder / "compiled"))
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        long, large = folder / "resnet152.prototxt", folder / "large.prototxt"
        long.write_text(text)
        head, _, body = text.partition("\n")  # one `name` is enough
        lines = (body * (2**20 // len(body) + 3)).splitlines()
        large.write_text("\n".join([head, *map(str.strip, lines)]))
        print(f"sum of 1,000,000 squares             {stage(runs, lambda: sum(i * i for i in range(10**6))):9.1f}")
        print("whole processes")
        print(f"  python -c pass                     {process(runs, env, '-c', 'pass'):9.1f}")
        for path in (SHORT, long):
            lines = path.read_text().count("\n")
            print(
                f"  netdef check, {lines:5} lines          {process(runs, env, '-m', 'netdef', 'check', str(path)):9.1f}"
            )
        size = large.stat().st_size / 2**20
        took = process(min(runs, 3), env, "-m", "netdef", "fmt", stdin=large)
        print(f"  netdef fmt, {size:.2f} MB               {took:9.1f}")
        print("stages")
        stages("38 lines", Source.read(SHORT), runs)
        stages(f"{text.count(chr(10))} lines", Source.read(long), runs)
        for path in (long, large):
            content = path.read_text()
            source = Source.read(path)
            if work := protobuf(content):
                compare(f"{len(content) / 2**20:.2f} MB", source, work, min(runs, 5))


def compare(name: str, source: Source, theirs: Callable[[], Any], runs: int) -> None:
    print(f"  {name:12}{'parse':24}{stage(runs, lambda: parse(source, Report())):9.1f}")
    print(f"  {name:12}{'protobuf text_format':24}{stage(runs, theirs):9.1f}")


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["10"])[0]))
