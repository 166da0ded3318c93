"""Convert files: weights from any format to any other, old nets to today's form, solver states and mean files.

The endings say what is meant.  Weights: .caffemodel, .caffemodel.h5, .npz, .safetensors, .orbax, and snapshots of a
run, which are folders.  With --net they are matched with a net first, layer by layer, and batch normalisation is
turned into what this net stores.  A snapshot becomes Caffe's .solverstate with its .caffemodel beside it.
Nets and solvers: V0 and V1 layers, input_dim, solver_type and the like are written as they are today; comments stay.

  netdef convert vgg.caffemodel -o vgg.safetensors
  netdef convert old.prototxt -o new.net
  netdef convert run/iter_005000 -o lenet.solverstate
  netdef convert model.npz --net model.net -o model.caffemodel
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from . import UsageError
from ._options import existing, load_plugins

HELP = "weights to another format, old nets to today's form"
NETS = (".prototxt", ".net", ".pt")
MEANS = (".binaryproto", ".npy")
STATES = (".solverstate", ".solverstate.h5")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what to convert; several weight files with commas between them")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to; a net without it goes to stdout")
    parser.add_argument("--net", "--model", "-model", metavar="FILE", help="the net that the weights are for")
    parser.add_argument("--bn-dialect", metavar="NAME", help="the fork whose BN wrote the weights (netdef explain BN)")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="of the numbers")
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE", help="import this module first")


def run(args: argparse.Namespace) -> int:
    load_plugins(args.plugin)
    names = args.file.split(",") if not Path(args.file).exists() else [args.file]
    for name in names:
        existing(name, "file or folder")
    if names[0].endswith(NETS):
        return _net(args)
    if not args.output:
        raise UsageError("say where to: -o FILE, whose ending names the format")
    if args.output.endswith(STATES):
        return _state(args)
    if names[0].endswith(MEANS) and args.output.endswith(MEANS):
        return _mean(Path(names[0]), Path(args.output))
    return _weights(args, names)


def _net(args: argparse.Namespace) -> int:
    from ..interop.modern import modernised
    from ..language.source import Source

    text, notes = modernised(Source.read(args.file))
    if args.output is None:
        sys.stdout.write(text)
    else:
        from ..interop.aside import written_aside

        written_aside(Path(args.output), lambda path: path.write_bytes(text.encode()))
    return _say(notes or ["it is of today's form already"])


def _weights(args: argparse.Namespace, names: list[str]) -> int:
    from ..interop.weights import entries_of, load_weights, read_entries, write_weights

    if args.net is None:
        if args.bn_dialect:
            raise UsageError("--bn-dialect needs --net: what the weights are to become is in the net")
        merged = {entry.name: entry for name in names for entry in read_entries(name)}
        write_weights(args.output, list(merged.values()), dtype=args.dtype)
        return _say([f"{sum(bool(e.arrays) for e in merged.values())} layers"])
    import netdef

    model = netdef.compile(existing(args.net))
    loaded = load_weights(model, names, args.bn_dialect)
    write_weights(args.output, entries_of(model.net, model.get_weights()), model.net, args.dtype)
    return _say([*loaded.notes, str(loaded)])


def _state(args: argparse.Namespace) -> int:
    from ..interop.solver_state import export_snapshot, is_solver_state, read_state, write_state

    to = Path(args.output)
    if is_solver_state(args.file):
        state = read_state(args.file)
        write_state(to, state.iteration, [s.read() for s in state.history], state.learned_net, state.current_step)
        return _say([f"iteration {state.iteration}"])
    if not Path(args.file).is_dir():
        raise UsageError(f"{args.file}: a solver's state is made from a snapshot, which is a folder, or another state")
    from ..train import snapshot

    path: Path | None = Path(args.file)
    if not path.name.startswith("iter_"):
        path, notes = snapshot.newest(path)
        _say(notes)
    if path is None:
        raise UsageError(f"{args.file}: there is no whole snapshot in this folder")
    weights = export_snapshot(path, to, _solver(args.net))
    return _say([f"the weights are in {weights}"])


def _solver(path: str | None) -> Any:
    if path is None:
        return None
    from ..train.nets import nets_of

    return nets_of(existing(path)).solver


def _mean(source: Path, to: Path) -> int:
    from ..interop.means import convert_mean

    return _say([f"an array of {convert_mean(source, to)}"])


def _say(lines: list[str]) -> int:
    for line in lines:
        print(f"netdef: {line}", file=sys.stderr)
    return 0
