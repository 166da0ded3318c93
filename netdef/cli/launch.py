"""Start several processes of a command on this machine, to try out a run on several hosts.

The processes find each other at a free port of this machine. Process 0 writes to the terminal; what the others write is
shown with their number in front. On a cluster, start the command once on each host instead, with --hosts and --host, or
with SLURM or Open MPI. On a CPU, each process has one device, unless XLA_FLAGS says otherwise.

  netdef launch -n 4 -- train model.net
  netdef launch -n 2 -- train model.net --output try1 --resume
  netdef launch -n 2 -- devices
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO

from . import UsageError
from ._options import iterations

HELP = "start several processes of `train` on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--processes", type=iterations, required=True, metavar="N", help="number of processes")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="the command after `--`, as in `train model.net`")


def run(args: argparse.Namespace) -> int:
    if args.command[:1] not in (["train"], ["devices"]):
        raise UsageError("`netdef launch` starts training: netdef launch -n 2 -- train model.net")
    address = f"127.0.0.1:{_free_port()}"
    command = [sys.executable, "-m", "netdef", *args.command, "--hosts", address, "--host"]
    processes = [_start([*command, f"{i}/{args.processes}"], i) for i in range(args.processes)]
    with _forwarded(processes):
        codes = [process.wait() for process in processes]
    for i, code in enumerate(codes):
        if code < 0:
            print(f"netdef: process {i} was ended by {signal.Signals(-code).name}", file=sys.stderr)
    killed = [128 - code for code in codes if code < 0]
    return next(iter([*killed, *filter(None, codes)]), 0)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _start(command: list[str], index: int) -> subprocess.Popen[str]:
    """Starts a process; all but the first are shown with their number in front of each line."""
    if index == 0:
        return subprocess.Popen(command, text=True)
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
    assert process.stdout is not None
    threading.Thread(target=_show, args=(process.stdout, index), daemon=True).start()
    return process


def _show(lines: IO[str], index: int) -> None:
    with lines:
        for line in lines:
            print(f"[{index}] {line}", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _forwarded(processes: list[subprocess.Popen[str]]) -> Iterator[None]:
    """Passes signals on.  A terminal sends SIGINT to all processes itself."""

    def forward(number: int, frame: object) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    numbers = (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
    before = {number: signal.signal(number, forward) for number in numbers}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
