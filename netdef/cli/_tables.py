"""Tables as the source of `netdef data`: their columns, and lists of the words of texts."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from . import UsageError
from ._options import existing
from ._output import say
from ._records import is_net, net_of

MOST_NAMED = 6  # categories that a line names
VOCABULARY = """\
Write a list of the words of a column, for `vocabulary` in a `text` of TableData: `<pad>`, `<unk>`, and then the words,
the most frequent ones first. SOURCE is a table (.csv, .tsv, .parquet), or a .txt file with a text per line.

  netdef data vocabulary reviews.csv --column text --output words.txt
  netdef data vocabulary reviews.csv --column text --size 5000 --output words.txt
"""


def add_vocabulary(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="table, or .txt file with a text per line")
    parser.add_argument("--output", "-o", required=True, metavar="FILE", help="write the list to this file")
    parser.add_argument("--column", metavar="NAME", help="column of the texts (default: the only one with texts)")
    parser.add_argument("--size", type=int, default=0, metavar="N", help="number of lines (default: all words)")
    parser.add_argument(
        "--split", choices=("WORDS", "SPACES", "CHARACTERS"), default="WORDS", help="as in `text` (default: WORDS)"
    )
    parser.add_argument("--case", action="store_true", help="keep capital letters, for `lower: false`")


def table_of(args: argparse.Namespace) -> Any:
    """Returns the table that is the source, or that of the net's data layer; None if the source is none."""
    from ..data.layers.folder import SUFFIXES
    from ..data.layers.table import TableData
    from ..data.table_file import LINES, is_table, open_table
    from ..files import locator

    if is_net(args.source):
        net = net_of(args)
        layers = [n.layer for n in net.layers if isinstance(n.layer, TableData) and args.layer in (None, n.name)]
        return layers[0].table(layers[0].paths(locator(net.folder))[0]) if layers else None
    path = Path(args.source)
    if not is_table(path) or path.suffix.lower() == LINES:  # a .txt file is a list of images here
        return None
    table = open_table(path)
    return None if any(Path(cell).suffix.lower() in SUFFIXES for cell in table.first_row()) else table


def show_columns(table: Any, as_json: bool) -> None:
    """Prints what the columns of a table contain."""
    from ..data.table_statistics import columns_of

    found = list(columns_of(table))
    rows = len(next(iter(table.columns(table.names[:1]).values())))
    if as_json:
        print(json.dumps({"rows": rows, "columns": [_as_dict(one) for one in found]}, indent=2))
        return
    width = max(len(one.name) for one in found)
    print(f"rows     {rows:,}\ncolumns  {len(found):,}")
    for one in found:
        missing = f"; {one.missing:,} missing" if one.missing else ""
        print(f"  {one.name:<{width}}  {one.kind.lower():<8}  {_in_words(one)}{missing}")


def _as_dict(one: Any) -> dict[str, Any]:
    made = {"name": one.name, "kind": one.kind, "missing": one.missing}
    if one.numbers is not None:
        made |= dict(zip(("min", "max", "mean", "deviation"), one.numbers, strict=True))
    if one.categories is not None:
        made["categories"] = one.categories
    if one.texts is not None:
        made |= dict(zip(("different", "most_tokens"), one.texts, strict=True))
    return made | ({"error": one.error} if one.error else {})


def _in_words(one: Any) -> str:
    if one.error:
        return one.error
    if one.numbers is not None:
        low, high, mean, deviation = one.numbers
        return f"{low:.5g} to {high:.5g}, mean {mean:.5g}, deviation {deviation:.4g}"
    if one.categories is not None:
        names = ", ".join(f"{name} {count:,}" for name, count in [*one.categories.items()][:MOST_NAMED])
        return f"{len(one.categories):,}: {names}" + (", ..." if len(one.categories) > MOST_NAMED else "")
    if one.texts is not None:
        return f"{one.texts[0]:,} different, at most {one.texts[1]:,} words"
    return "no values"


def check_columns(table: Any) -> int:
    """Lists the columns that TableData does not read; returns the exit code."""
    from ..data.table_statistics import columns_of

    found = list(columns_of(table))
    errors = [one.error for one in found if one.error]
    for error in errors:
        print(error)
    print(f"{table.path}: {len(found):,} columns, {len(errors):,} with mistakes")
    return 1 if errors else 0


def write_vocabulary(args: argparse.Namespace) -> int:
    """`netdef data vocabulary`."""
    from ..data.table_file import is_table, open_table
    from ..data.table_statistics import columns_of, vocabulary_of
    from ..data.text import Split, Text
    from ..files import write_text_atomically

    path = Path(existing(args.source, "source"))
    if not is_table(path):
        raise UsageError(f"{path} is not a table: a .csv, .tsv, .parquet or .txt file")
    if args.size and args.size < 3:
        raise UsageError(f"--size is {args.size}; it must be at least 3, for <pad>, <unk> and a word")
    table = open_table(path)
    name = args.column or (table.names[0] if len(table.names) == 1 else None)
    if name is None:
        texts = [one.name for one in columns_of(table) if one.kind == "TEXT"]
        if len(texts) != 1:
            raise UsageError(f"{path} has {len(texts)} columns with texts; name one with --column")
        name = texts[0]
    block = Text(top=name, length=1, split=Split[args.split], lower=not args.case)
    words = vocabulary_of(table, name, block, args.size)
    write_text_atomically(Path(args.output), "\n".join(words) + "\n")
    print(f"{args.output}: {len(words):,} lines")
    say(f'in a net: text {{ name: "{name}" vocabulary: "{args.output}" ... }}, and Embed with input_dim: {len(words)}')
    return 0
