"""Figures of runs, sweeps and learning-rate range tests: their contents and their files."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest

from netdef import NetdefError
from netdef.observe import curves, read_run, read_runs, save, written
from netdef.observe.rates import rates
from netdef.observe.searched import parallel
from netdef.observe.sweep_page import sweep_page
from netdef.observe.sweep_record import read_sweep
from netdef.observe.swept import swept

pytest.importorskip("matplotlib")


def labels(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def axes_of(figure) -> dict[tuple[str, str], object]:
    """Returns the axes by their vertical and horizontal labels, which are at the left and at the bottom."""
    rows = figure.axes[0].get_subplotspec().get_gridspec().nrows
    columns = len(figure.axes) // rows
    return {
        (figure.axes[r * columns].get_ylabel(), figure.axes[(rows - 1) * columns + c].get_xlabel()): figure.axes[
            r * columns + c
        ]
        for r in range(rows)
        for c in range(columns)
    }


def test_one_run_shows_loss_accuracy_and_rate_over_iterations_and_time(a_run):
    figure = curves([read_run(a_run())])
    found = axes_of(figure)
    assert {y for y, _ in found} == {"Loss", "Accuracy", "Learning rate"}
    assert {x for _, x in found} == {"Iteration", "Time (seconds)"}
    assert labels(figure) == ["Training (smoothed)", "Training (each display)", "Test"]
    raw, bold, test = found["Loss", "Iteration"].lines
    assert raw.get_linewidth() < 1 < bold.get_linewidth()
    assert list(raw.get_ydata()) != list(bold.get_ydata()) and len(raw.get_ydata()) == 40
    assert raw.get_color() == bold.get_color() != test.get_color()
    assert list(found["Loss", "Time (seconds)"].lines[0].get_xdata())[:2] == [1, 1.5]
    assert found["Learning rate", "Iteration"].get_yscale() == "log"
    assert found["Accuracy", "Iteration"].get_ylim()[1] <= 1.01


def test_several_runs_have_a_color_each(a_run):
    figure = curves(read_runs([a_run("a"), a_run("b")]), by=("iteration",), smooth=0)
    assert labels(figure) == ["a", "b", "Training", "Test"]
    assert len({line.get_color() for line in axes_of(figure)["Loss", "Iteration"].lines}) == 2
    many = curves(read_runs([a_run(f"r{i}", displays=3) for i in range(12)]), by=("iteration",))
    assert len({str(line.get_color()) for line in many.axes[0].lines}) == 12


def test_many_runs_do_not_shrink_the_axes(a_run):
    runs = read_runs([a_run(f"a-run-with-a-rather-long-name-{i}", displays=2) for i in range(33)])
    one, many = curves(runs[:1]), curves(runs)
    assert labels(many)[29:31] == ["a-run-with-a-rather-long-name-29", "and 3 more"]
    heights = []
    for figure in (one, many):
        written(figure, "png")
        heights.append(figure.axes[0].get_position().height * figure.get_size_inches()[1])
    assert heights[1] > 0.8 * heights[0]


def test_runs_with_different_metrics_share_a_figure(a_run, tmp_path):
    (tmp_path / "other").mkdir()
    rows = [{"iteration": i, "phase": "train", "loss": 1.0, "kl": 2.0} for i in range(3)]
    (tmp_path / "other" / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    runs = read_runs([a_run(), tmp_path / "other"])
    assert {y for y, _ in axes_of(curves(runs))} == {"Loss", "Accuracy", "Learning rate"}
    assert [y for y, _ in axes_of(curves(runs, ["kl"], by=("iteration",)))] == ["kl"]
    with pytest.raises(NetdefError, match="no run has a metric `los`.*Did you mean `loss`"):
        curves(runs, ["los"])
    with pytest.raises(NetdefError, match="only be plotted by iteration"):
        curves(runs[1:], by=("time",))


def test_values_that_are_not_finite_are_marked(a_run):
    figure = curves([read_run(a_run(loss="nan"))], ["loss"], by=("iteration",))
    assert "Not finite" in labels(figure)
    assert [text.get_text() for text in figure.axes[0].texts] == ["No finite values"]
    assert written(figure, "png")[:4] == b"\x89PNG"


def test_a_first_loss_far_above_all_others_is_cut_off(a_run):
    folder = a_run()
    rows = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(rows.replace('"loss": 1.2,', '"loss": 900.0,', 1))
    assert curves([read_run(folder)], ["loss"]).axes[0].get_ylim()[1] < 3


def test_a_curve_that_lies_far_above_the_others_is_shown(a_run):
    runs = [read_run(a_run("low")), read_run(a_run("high", loss=90.0, displays=5))]
    for order in (runs, runs[::-1]):
        assert curves(order, ["loss"]).axes[0].get_ylim()[1] > 90


def test_rates_with_steps_are_drawn_as_steps(a_run):
    rate = lambda **changes: curves([read_run(a_run(f"r{len(changes)}", **changes))], ["lr"]).axes[0].lines[0]
    assert rate().get_drawstyle() == "default"
    assert rate(lr=0.1).get_drawstyle() == "steps-post"


def test_an_axis_of_accuracies_has_no_label_above_100_percent(a_run):
    axes = curves([read_run(a_run(accuracy=0.999))], ["accuracy"], by=("iteration",)).axes[0]
    axes.figure.canvas.draw()
    shown = [text.get_text() for text in axes.get_yticklabels()]
    assert all(float(text.rstrip("%")) <= 100 for text in shown if text) and any(shown)


@pytest.mark.parametrize(("end", "begin"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_extension_selects_the_format_and_files_are_reproducible(a_run, tmp_path, end, begin):
    run = read_run(a_run())
    made = [save(curves([run], by=("iteration",)), tmp_path / f"{i}{end}").read_bytes() for i in range(2)]
    assert made[0].startswith(begin) and made[0] == made[1]
    assert not list(tmp_path.glob(".*"))


def test_names_are_not_parsed_as_math(a_run):
    svg = written(curves(read_runs([a_run("cost_$x^2$"), a_run("$\\frac")])), "svg")
    assert b"</svg>" in svg


def test_an_unknown_extension_or_a_missing_folder_is_an_error(a_run, tmp_path):
    figure = curves([read_run(a_run())])
    with pytest.raises(NetdefError, match="must end in .png, .svg or .pdf"):
        save(figure, tmp_path / "x.gif")
    with pytest.raises(NetdefError, match="does not exist"):
        save(figure, tmp_path / "no" / "x.png")


def sweep_in(folder, rows, until=None):
    (folder / "sweep.json").write_text(json.dumps({"folder": "s", "until": until, "rows": rows}))
    return read_sweep(folder)


def depth_rows():
    for bn in (True, False):
        for depth in (1, 2, 3):
            for seed in (1, 2):
                reached = None if not bn and depth == 3 else 10 + 20 * depth * (not bn) + seed
                yield {"run": "r", "bn": bn, "depth": depth, "seed": seed, "iterations": 100, "reached": reached}


def test_a_sweep_with_a_goal_shows_when_each_run_reached_it(tmp_path):
    figure = swept(sweep_in(tmp_path, list(depth_rows()), "accuracy>=0.9"))
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("depth", "Iterations to accuracy ≥ 0.9")
    assert labels(figure) == ["bn true", "bn false", "Not within 100 iterations"]
    medians = [list(line.get_ydata()) for line in axes.lines if line.get_linestyle() == "-"]
    assert medians[0] == [11, 11, 11] and medians[1][:2] == [31, 51] and math.isnan(medians[1][2])


def test_a_sweep_without_a_goal_shows_scores_and_curves(a_run, tmp_path):
    rows = []
    for rate in (0.001, 0.01, 0.1):
        folder = a_run(f"lr={rate}")
        row = {"run": folder.name, "solver.base_lr": rate, "name": "x", "seed": 0, "loss": 1.0, "test accuracy": 0.5}
        (folder / "result.json").write_text(json.dumps({"row": row}))
        rows.append(row)
    figure = swept(sweep_in(tmp_path, rows))
    scores, all_curves = figure.axes
    assert (scores.get_xlabel(), scores.get_xscale()) == ("base_lr", "log")
    assert scores.get_ylabel() == "Final test accuracy"
    assert len(all_curves.lines) == 3 and all_curves.get_xlabel() == "Iteration"


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 3}', '{"rows": []}'])
def test_the_error_names_a_damaged_sweep(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(NetdefError, match="sweep.json"):
        read_sweep(tmp_path)


def test_a_sweep_over_unusual_values_is_plotted(tmp_path):
    rows = [
        {"run": "a", "w": [1, 2], "lr": 1e300, "seed": 0, "iterations": "inf", "reached": "nan"},
        {"run": "b", "w": {"x": 1}, "lr": 0.1, "seed": 1, "iterations": 7, "reached": 5},
    ]
    figure = swept(sweep_in(tmp_path, rows, "accuracy>=0.9"))
    assert written(figure, "png") and len(figure.axes) == 1


def test_runs_without_anything_to_plot_are_an_error(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"iteration": 0, "phase": "test", "kl": 3}')
    with pytest.raises(NetdefError, match="there is no loss, accuracy or learning rate to plot; metrics: kl"):
        curves([read_run(tmp_path)])


def test_a_range_test_shows_the_loss_by_learning_rate():
    points = [(10.0 ** (i / 10 - 5), 2.0 if i < 40 else math.inf if i > 55 else 2 - (i - 40) / 10) for i in range(60)]
    figure = rates(points, 0.02, 1.0)
    assert figure.axes[0].get_xscale() == "log"
    assert labels(figure)[2:] == ["Suggested base_lr: 0.02", "Loss diverges at 1"]
    assert labels(rates([(0.1, math.nan)], None, None)) == ["Loss of each iteration", "Running mean"]


def searched_in(folder, rows, **told):
    score = {"column": "test accuracy", "upwards": True}
    told = {"until": None, "score": score, "search": {"search": "bayes", "trials": 9, "seed": 0}, "rows": rows} | told
    (folder / "sweep.json").write_text(json.dumps(told))
    return read_sweep(folder)


def trials(n=8):
    for i in range(n):
        settings = {"solver.base_lr": 0.001 * 2**i, "act": ("ReLU", "ELU")[i % 2], "<width>": 8 + i}
        state = ("finished", "finished", "pruned", "diverged")[i % 4]
        score = {} if state == "diverged" else {"test accuracy": 0.5 + 0.05 * i}
        yield {"run": f"trial-{i:03d}", **settings, "seed": 0, "trial": i, "loss": 1.0, **score, "state": state}


def test_a_search_shows_each_setting_and_the_best_run(tmp_path):
    sweep = searched_in(tmp_path, list(trials()))
    assert sweep.best is sweep.rows[5], "the pruned run does not count"
    figure = swept(sweep)
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_visible()]
    assert labels == ["Trial", "base_lr", "act", "<width>"]
    assert figure.axes[1].get_xscale() == "log" and figure.axes[0].get_ylabel() == "Final test accuracy"
    assert "Bayesian search, 8 trials" in figure.get_suptitle()
    assert len(parallel(sweep, sweep.score).axes) == 1
    save(figure, tmp_path / "s.png")


@pytest.mark.parametrize("count", [1, 2])
def test_a_search_of_few_trials_is_plotted(tmp_path, count):
    sweep = searched_in(tmp_path, list(trials(count)))
    save(swept(sweep), tmp_path / "s.png")
    assert "<table" in sweep_page(sweep)


def test_the_report_of_a_sweep_has_the_best_run_first(tmp_path):
    html = sweep_page(searched_in(tmp_path, list(trials())))
    rows = html.split("<tbody>")[1].split("<tr")[1:]
    assert rows[0].startswith(' class="best"') and "trial-005" in rows[0]
    assert "of 9 trials" in html and "runs diverged" in html and "&lt;width&gt;" in html and "<width>" not in html
    grid = sweep_page(searched_in(tmp_path, list(depth_rows()), search=None, until="accuracy>=0.9", score=None))
    assert "a grid of" in grid and "<h2>Runs</h2>" in grid


def test_a_search_with_seeds_shows_medians_and_ranges(tmp_path):
    rows = [row | {"seeds": 3} for row in trials()]
    rows = [r | {"lowest": v - 0.1, "highest": v + 0.04} if (v := r.get("test accuracy")) else r for r in rows]
    search = {"search": "random", "trials": 8, "seed": 0, "seeds": 3}
    sweep = searched_in(tmp_path, rows, search=search)
    figure = swept(sweep)
    assert "random search, 8 trials, medians of 3 seeds" in figure.get_suptitle()
    lines = [line.get_ydata() for line in figure.axes[0].lines if list(line.get_xdata()) == [5, 5]]
    assert [pytest.approx(v) for v in lines[0]] == [0.65, 0.79]
    low, high = figure.axes[0].get_ylim()
    assert low < 0.4 and high > 0.79
    html = sweep_page(sweep)
    assert "a trial is the median of 3 seeds" in html and '<th class="number">lowest</th>' in html
    save(figure, tmp_path / "s.png")


def test_a_sweep_without_scores_has_no_report(tmp_path):
    with pytest.raises(NetdefError, match="neither a loss nor an accuracy"):
        sweep_page(searched_in(tmp_path, [{"run": "a", "seed": 0}]))


def test_a_home_that_cannot_be_written_is_not_mentioned():
    code = "from netdef.observe.figure import new_figure; new_figure(1, 1)"
    given = {k: v for k, v in os.environ.items() if k not in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=given | {"HOME": os.devnull}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
