"use strict";
// Curves, by uPlot (vendor/uPlot.js): a thin line for every value and a bold one for the running mean of training,
// dashes for tests.

const charts = (() => {
  const { el } = dom;
  const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7a5fc0", "#5d6672"];
  const DARK = ["#5ab4f0", "#ff8a4a", "#35c79a", "#e79ac6", "#e8c14f", "#8fd3ff", "#b39df5", "#a9b3bf"];
  const SMOOTH = 0.05; // fraction of a run that a running mean covers
  const HEIGHT = 230;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const color = (i) => (dark.matches ? DARK : LIGHT)[i % LIGHT.length];
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Running means without bias at the start: m = w m + (1 - w) x, divided by 1 - w^n.
  function smoothed(values) {
    const weight = Math.exp(-1 / Math.max(1, SMOOTH * values.length));
    let [mean, count] = [0, 0];
    return values.map((value) => {
      if (value === null) return null;
      mean = weight * mean + (1 - weight) * value;
      count += 1;
      return mean / (1 - weight ** count);
    });
  }

  const written = (value) =>
    value === null || value === undefined
      ? "–"
      : Math.abs(value) >= 1e3 && Math.abs(value) < 1e7
        ? Math.round(value).toLocaleString("en")
        : Math.abs(value) >= 1e7 || (value !== 0 && Math.abs(value) < 1e-3)
          ? value.toExponential(2)
          : String(+value.toPrecision(4));

  // The columns of a chart: lines = [{name, color, test, xs, values}].
  function columns(lines) {
    const tables = [];
    const series = [{}];
    for (const line of lines) {
      const many = !line.test && !line.plain && line.values.length > 40;
      const own = { label: line.name, stroke: () => color(line.color), spanGaps: true };
      if (line.test) Object.assign(own, { dash: [6, 3], width: 1.5, points: { show: line.values.length <= 60, size: 5, fill: () => color(line.color) } });
      else Object.assign(own, { width: many ? 2 : 1.7, points: { show: line.values.length === 1, size: 6 } });
      if (line.plain) own.paths = uPlot.paths.stepped({ align: 1 });
      if (many) {
        series.push({ ...own, width: 1, alpha: 0.35, label: "" , class: "thin" });
        tables.push([line.xs, line.values]);
      }
      series.push(own);
      tables.push([line.xs, many ? smoothed(line.values) : line.values]);
    }
    return { series, data: uPlot.join(tables) };
  }

  const axis = (label) => ({
    stroke: () => style("--quiet"),
    grid: { stroke: () => style("--line"), width: 1 },
    ticks: { stroke: () => style("--line"), width: 1 },
    font: "12px system-ui, sans-serif",
    ...(label ? { label, labelFont: "12px system-ui, sans-serif", labelSize: 18, size: 40 } : { size: 62, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : written(tick))) }),
  });

  // An accuracy is between 0 and 1, also on the axis.
  function share(plot, least, most) {
    if (least === null) return [0, 1];
    const room = Math.max(0.1 * (most - least), 0.01);
    return [Math.max(0, least - room), most <= 1 ? Math.min(1.002, most + room) : most + room];
  }

  // Draws one chart in a new element, which has a function `update(lines, options)`.  Options: `by`, the label of the
  // horizontal axis; `kind` of the values; `log`, a logarithmic vertical axis; `until`, the end of the horizontal one.
  function chart(title, lines, options) {
    const place = el("div", { class: "plot" });
    const whole = el("figure", { class: "chart", role: "img", "aria-label": title }, el("h3", {}, title), place);
    const now = { lines, options, plot: null, form: form(lines, options), zoomed: false };
    const wide = () => Math.max(240, place.clientWidth);
    const last = (plot, i) => plot.data[i].findLast((value) => value !== null && value !== undefined);

    function draw() {
      const { series, data } = columns(now.lines);
      const shown = series.slice(1).map((one, i) => ({ ...one, value: (plot, value) => written(value ?? last(plot, i + 1)) }));
      const x = { label: now.options.by, value: (plot, value) => (value ?? last(plot, 0))?.toLocaleString("en") };
      now.plot?.destroy();
      now.plot = new uPlot(
        {
          width: wide(),
          height: HEIGHT,
          series: [x, ...shown],
          scales: { x: { time: false, range: (plot, from, to) => (now.zoomed ? [from, to] : [0, now.options.until || to || 1]) }, y: vertical() },
          axes: [axis(now.options.by), axis()],
          cursor: { points: { size: 6 } },
          hooks: { setSelect: [() => (now.zoomed = true)] },
        },
        data,
        place
      );
      now.plot.over.addEventListener("dblclick", () => (now.zoomed = false), { capture: true });
      for (const [i, row] of place.querySelectorAll(".u-series").entries()) row.hidden = series[i]?.class === "thin";
    }

    function vertical() {
      if (now.options.log && positive(now.lines)) return { distr: 3 };
      return now.options.kind === "accuracy" ? { range: share } : {};
    }

    whole.update = (lines, options) => {
      const before = now.form;
      Object.assign(now, { lines, options, form: form(lines, options) });
      if (!now.plot) return;
      if (before !== now.form) draw();
      else now.plot.setData(columns(lines).data, !now.zoomed);
    };
    const sizes = new ResizeObserver(() => {
      if (!place.isConnected) return sizes.disconnect();
      if (!now.plot) return place.clientWidth ? draw() : undefined;
      now.plot.setSize({ width: wide(), height: HEIGHT });
    });
    sizes.observe(place);
    return whole;
  }

  // What a chart must be drawn again for; new values are added to it.
  const form = (lines, { by, kind, log }) =>
    JSON.stringify([by, kind, log, dark.matches, lines.map((line) => [line.name, line.color, line.values.length > 40, line.values.length > 60, line.values.length > 1])]);

  // Shows charts in an element: [{title, lines, options}].  Those with the title of one that is there are updated.
  function all(parent, wanted) {
    const there = new Map([...parent.children].map((node) => [node.getAttribute("aria-label"), node]));
    const nodes = wanted.map(({ title, lines, options }) => {
      const node = there.get(title);
      if (!node) return chart(title, lines, options);
      node.update(lines, options);
      return node;
    });
    const same = nodes.length === parent.children.length && nodes.every((node, i) => node === parent.children[i]);
    if (!same) parent.replaceChildren(...nodes);
  }

  const positive = (lines) => lines.every((line) => line.values.every((value) => value === null || value > 0));

  // The horizontal values of a line: iterations, or seconds since the start in the unit that fits.
  function unit(lines) {
    const longest = Math.max(0, ...lines.flatMap((line) => line.seconds.filter((s) => s !== null)));
    if (longest > 7200) return [3600, "hours"];
    return longest > 600 ? [60, "minutes"] : [1, "seconds"];
  }

  function placed(line, by, seconds) {
    const xs = by === "iteration" ? line.iterations : line.seconds.map((s) => (s === null ? null : s / seconds));
    const kept = xs.map((x, i) => [x, line.values[i]]).filter(([x], i) => x !== null && (i === 0 || x !== xs[i - 1]));
    return { ...line, xs: kept.map(([x]) => x), values: kept.map(([, value]) => value) };
  }

  // The largest horizontal value of placed lines.
  const end = (lines) => Math.max(0, ...lines.map((line) => line.xs.at(-1) ?? 0));

  // Calls a function when the colors change.
  const recolored = (draw) => dark.addEventListener("change", draw);

  return { all, color, unit, placed, end, recolored };
})();
