"""The style of all figures, and writing them as PNG, SVG or PDF, selected by the extension.

matplotlib is used without `pyplot`, so there is no global state and no display is needed.  The colors are from M. Okabe
and K. Ito, Color Universal Design, 2008, which people with any kind of color vision can distinguish.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..files import write_atomically
from ..language.errors import NetdefError
from ..lazy import need

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C6D31")
GRAY = "#666666"
ENDS = (".png", ".svg", ".pdf")
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "axes.edgecolor": "#999999",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.solid_capstyle": "round",
    "text.parse_math": False,  # names may contain dollar signs
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "netdef",  # equal figures are equal files
    "path.simplify_threshold": 0.5,
}


@contextlib.contextmanager
def drawing() -> Iterator[Any]:
    """matplotlib with the style of all figures.  NetdefError if it is not installed."""
    logging.getLogger("matplotlib").addFilter(_concerns_the_figure)
    need("matplotlib.figure", "drawing figures")
    import matplotlib.figure

    with matplotlib.rc_context(STYLE):
        yield matplotlib


def _concerns_the_figure(message: logging.LogRecord) -> bool:
    """False for what matplotlib says of its settings and its cache of fonts where the home folder cannot be written."""
    return "mkdir -p failed" not in message.msg and "MPLCONFIGDIR" not in message.msg


def new_figure(width: float, height: float) -> Any:
    """Returns an empty figure of this size in inches, with a layout that prevents overlaps."""
    with drawing():
        return _figure_class()(figsize=(width, height), layout="constrained")


@functools.cache
def _figure_class() -> Any:
    """The class of figures: one of matplotlib that keeps the style, and that notebooks show without pyplot."""
    import matplotlib.figure

    class Figure(matplotlib.figure.Figure):
        def savefig(self, *args: Any, **options: Any) -> None:
            with drawing():
                super().savefig(*args, **options)

        def _repr_svg_(self) -> str:
            return written(self, "svg").decode()

    return Figure


def written(figure: Any, kind: str) -> bytes:
    """Returns a figure as the bytes of a file; `kind` is "png", "svg" or "pdf"."""
    made = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with drawing():
        figure.savefig(made, format=kind, dpi=150, metadata=undated)
    return made.getvalue()


def save(figure: Any, path: str | Path) -> Path:
    """Writes a figure, completely or not at all.  NetdefError for any other extension."""
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in ENDS:
        raise NetdefError(f"{path}: the file name of a figure must end in {', '.join(ENDS[:-1])} or {ENDS[-1]}.")
    if not path.parent.exists():
        raise NetdefError(f"{path}: the folder {path.parent} does not exist.")
    data = written(figure, kind[1:])
    write_atomically(path, lambda aside: aside.write_bytes(data))
    return path


def save_all(figure: Any, base: Path, given: Sequence[str] = ()) -> list[Path]:
    """Writes a figure to the given paths, or to `base` plus .png and `base` plus .svg."""
    paths = [Path(name) for name in given] or [base.with_name(base.name + end) for end in (".png", ".svg")]
    return [save(figure, path) for path in paths]


def colors(count: int) -> list[Any]:
    """Returns colors that are easy to distinguish, or for a large number shades from dark to light, in order."""
    if count <= len(COLORS):
        return list(COLORS[:count])
    with drawing() as matplotlib:
        shades = matplotlib.colormaps["viridis"]
        return [shades(0.95 * i / (count - 1)) for i in range(count)]


def plain_ticks(axis: Any) -> None:
    """Labels a logarithmic axis with plain numbers such as 0.001 and 100."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def percents(axis: Any, values: Sequence[float]) -> None:
    """Labels fractions as percentages, on an axis that ends shortly beyond 0 and 1."""
    from matplotlib.ticker import FuncFormatter, PercentFormatter

    least, most = min(values), max(values)
    room = max(0.06 * (most - least), 0.02)
    axis.axes.set_ylim(max(least - room, -0.01), min(most + room, 1.01))
    written = PercentFormatter(1.0)
    written.set_axis(axis)
    within = lambda value: -1e-9 <= value <= 1 + 1e-9  # the axis goes on, so that a line at 100 % is not cut
    axis.set_major_formatter(FuncFormatter(lambda value, at: written(value, at) if within(value) else ""))


def say_nothing_to_draw(axes: Any, why: str) -> None:
    """Writes a text in the middle of axes without a curve."""
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", color=GRAY)


def legend_below(figure: Any, entries: Sequence[tuple[Any, str]]) -> None:
    """Adds a legend of (handle, label) below all axes, where it covers no curve, and makes the figure taller."""
    handles, labels = [handle for handle, _ in entries], [label for _, label in entries]
    longest = max((len(label) for label in labels), default=1)
    width, height = figure.get_size_inches()
    columns = max(1, min(len(labels), int(width * 11 / (longest + 8))))
    figure.set_size_inches(width, height + 0.19 * -(-len(labels) // columns))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
