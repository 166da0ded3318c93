"""Convert weights, trained nets, net and solver files, solver states and mean files.

The file name extensions select the formats:

Weights: .caffemodel, .caffemodel.h5, .npz, .safetensors, .orbax, the formats of a --plugin, and snapshots of a run,
which are folders. For a net, the weights of its last run are written, or those of --run or --weights. With --net,
weights are matched with the layers of this net by name, and batch normalization is converted to the layers of the net.

Solver states: a snapshot is converted to Caffe's .solverstate, with its weights in a .caffemodel in the same folder.

Programs: .onnx and .stablehlo contain the inference net (see `netdef deploy`) with the weights of --weights or of the
last run. They accept any batch size unless --batch fixes it. In ONNX, batch normalization and scales are merged into
the preceding layers, as by `netdef deploy --fold`; --no-fold keeps them.

Nets and solvers: .net and .prototxt. V0 and V1 layers, input_dim, solver_type and so on are upgraded to the current
format; comments are kept.

Means: .binaryproto and .npy.

  netdef convert vgg.caffemodel -o vgg.safetensors --dtype bf16
  netdef convert model.net -o model.npz
  netdef convert model.net -o model.onnx --weights model.caffemodel
  netdef convert model.net -o model.stablehlo
  netdef convert --run runs/Digits -o model.onnx
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
from ._deployed import add_deployed, deployed_model
from ._options import add_settings, existing, load_plugins, trust_of
from ._output import say, written_text
from ._trained import no_snapshot, subject

HELP = "convert weights to other formats, nets to ONNX and StableHLO, old nets to current ones"
NETS = (".prototxt", ".net", ".pt")
MEANS = (".binaryproto", ".npy")
STATES = (".solverstate", ".solverstate.h5")
PROGRAMS = (".onnx", ".stablehlo")
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="file to convert, or several weight files separated by commas"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write the result to this file (default for a net: stdout)"
    )
    parser.add_argument("--net", "--model", "-model", metavar="FILE", help="match the weights with this net")
    parser.add_argument(
        "--bn-dialect", metavar="NAME", help="fork of Caffe that wrote the BN weights (see `netdef explain BN`)"
    )
    parser.add_argument(
        "--no-fold", action="store_true", help="keep batch normalization and scales as layers of their own in ONNX"
    )
    add_dtype(parser)
    add_settings(parser)
    add_deployed(parser)


def add_dtype(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dtype",
        type=lambda name: DTYPES.get(name, name),
        choices=sorted(DTYPES.values()),
        default="float32",
        help="data type in a weight file: float32, float16 or fp16, bfloat16 or bf16 (default: float32)",
    )


def run(args: argparse.Namespace) -> int:
    load_plugins(args.plugin)
    if args.file is None:
        if not args.run:
            raise UsageError("FILE is missing: name the file to convert, or a run with --run")
        if (args.output or "").endswith(PROGRAMS):
            return _program(args, [])
        args.file = _newest(existing(args.run, "run"))
    names = args.file.split(",") if not Path(args.file).exists() else [args.file]
    for name in names:
        existing(name, "file or folder")
    if args.no_fold and not (args.output or "").endswith(".onnx"):
        raise UsageError(f"--no-fold is for ONNX: -o FILE.onnx, not {args.output or 'stdout'}")
    if (args.output or "").endswith(PROGRAMS):
        return _program(args, names)
    if names[0].endswith(NETS):
        return _weights_of_net(args) if _holds_weights(args.output) else _net(args)
    if not args.output:
        raise UsageError("-o FILE is missing; its extension selects the format")
    if args.output.endswith(STATES):
        return _state(args)
    if names[0].endswith(MEANS) and args.output.endswith(MEANS):
        return _mean(Path(names[0]), Path(args.output))
    return _weights(args, names)


def _newest(run: str) -> str:
    """Returns the newest snapshot of a run, and names it."""
    if Path(run).is_dir():
        run = str(_snapshot(Path(run)))
        say(f"the weights are those of {run}")
    return run


def _program(args: argparse.Namespace, names: list[str]) -> int:
    """Exports a net, given as the file or by --net, with the weights, given by --weights or as the file."""
    from ..interop import export_onnx, export_stablehlo

    if names and not names[0].endswith(NETS):
        if args.net is None:
            raise UsageError(f"{args.output} requires a net as well as its weights: name the net with --net")
        if args.weights or args.run:
            raise UsageError(f"{args.file} is a weight file, so --weights and --run are not allowed")
        args.weights = names
    args.file, args.model, args.gpu = args.net or (names[0] if names else None), None, None
    model = deployed_model(subject(args), args)
    if args.output.endswith(".onnx"):
        export_onnx(model, args.output, any_batch=args.batch is None, fold=not args.no_fold)
    else:
        export_stablehlo(model, args.output, any_batch=args.batch is None)
    print(f"{args.output}: inputs {_inputs(model.net, args.batch is None)}")
    return 0


def _inputs(net: Any, any_batch: bool) -> str:
    shapes = {name: net.blobs[name].shape for name in net.inputs}
    first = lambda shape: ["n" if any_batch else str(shape[0])] if shape else []
    return ", ".join(f"{name} ({', '.join([*first(s), *map(str, s[1:])])})" for name, s in shapes.items())


def _net(args: argparse.Namespace) -> int:
    from ..interop.modernize import modernized
    from ..language.source import Source

    if args.output and not args.output.endswith(NETS):
        raise UsageError(
            f"{args.output}: a net is converted to {' or '.join(NETS)}, its weights to a format of weights, and both "
            f"together to {' or '.join(PROGRAMS)}"
        )
    text, notes = modernized(Source.read(args.file))
    if args.output is None:
        sys.stdout.write(text)
    else:
        written_text(args.output, text)
    return _say(notes or ["the file is in the current format already"])


def _holds_weights(output: str | None) -> bool:
    from ..interop.formats.base import ending_of

    return bool(output and ending_of(output))


def _weights_of_net(args: argparse.Namespace) -> int:
    """Writes the weights of a net: those of its last run, of --run or of --weights."""
    args.model, args.gpu = None, None
    found = subject(args)
    if not found.place:
        raise UsageError(no_snapshot(args))
    return _weights(args, [str(found.snapshot)] if found.snapshot else list(found.files))


def _weights(args: argparse.Namespace, names: list[str]) -> int:
    if args.bn_dialect and args.net is None:
        raise UsageError("--bn-dialect requires --net, because the weights are converted to the layers of a net")
    notes = _as_they_are(args, names) if args.net is None else _for_the_net(args, names)
    _carry(names, args.output)
    return _say(notes)


def _as_they_are(args: argparse.Namespace, names: list[str]) -> list[str]:
    """Writes the layers of all files; of layers with the same name the last is written. Returns notes."""
    from ..interop.weights import read_entries, write_weights

    merged = {entry.name: entry for name in names for entry in read_entries(name)}
    write_weights(args.output, list(merged.values()), dtype=args.dtype)
    return [f"layers with weights: {sum(bool(e.arrays) for e in merged.values())}"]


def _for_the_net(args: argparse.Namespace, names: list[str]) -> list[str]:
    """Writes all weights of the net in the layout of its layers. Returns notes on the conversion."""
    from ..compiler import load
    from ..interop.weights import entries_of, write_weights
    from ..model import stored_weights

    trust = trust_of(args)
    net = load(existing(args.net), "TEST", trust_python=trust.python, import_path=trust.folders)
    weights, loaded = stored_weights(net, names, args.bn_dialect)
    write_weights(args.output, entries_of(net, weights), net, args.dtype)
    return [*loaded.notes, str(loaded)]


def _carry(names: list[str], to: str) -> None:
    """Copies the preprocessing that is stored with the weights."""
    from ..inference.preprocessing import beside, carry

    found = next((name for name in reversed(names) if beside(name)), None)
    if found is not None:
        _say([f"the preprocessing was copied to {carry(found, to)}"])


def _state(args: argparse.Namespace) -> int:
    from ..interop.solver_state import export_snapshot, is_solver_state, read_state, write_state

    to = Path(args.output)
    if is_solver_state(args.file):
        state = read_state(args.file)
        write_state(to, state.iteration, [s.read() for s in state.history], state.learned_net, state.current_step)
        return _say([f"the state of iteration {state.iteration} was written"])
    weights = export_snapshot(_snapshot(Path(args.file)), to, _solver(args))
    return _say([f"the weights were written to {weights}"])


def _snapshot(path: Path) -> Path:
    """Returns the given snapshot, or the newest complete one of a run."""
    from ..interop import snapshot

    if not path.is_dir():
        raise UsageError(
            f"{path}: a solver state is converted from a snapshot, which is a folder, or from another solver state"
        )
    if path.name.startswith("iter_"):
        return path
    found, notes = snapshot.newest(path)
    _say(notes)
    if found is None:
        raise UsageError(f"{path}: no complete snapshot in this folder")
    return found


def _solver(args: argparse.Namespace) -> Any:
    if args.net is None:
        return None
    from ..training.solver_nets import nets_of

    return nets_of(existing(args.net), trust=trust_of(args)).solver


def _mean(source: Path, to: Path) -> int:
    from ..interop.means import convert_mean

    return _say([f"the mean is an array of {convert_mean(source, to)}"])


def _say(lines: list[str]) -> int:
    for line in lines:
        say(line)
    return 0
