"use strict";
// The page of a folder: the list of its runs, and the curves of those that are chosen.

(() => {
  const { el, byId, show } = dom;
  const FIRST = 4; // runs that are compared at first
  const now = { page: null, chosen: null, metric: null, curves: [] };

  const address = (name) => `runs/${name.split("/").map(encodeURIComponent).join("/")}/`;

  function list() {
    const { runs } = now.page;
    if (!runs.length) return el("p", { class: "quiet" }, "There are no runs in this folder. `netdef train` writes them.");
    const names = [...new Set(runs.flatMap((run) => run.settings.map(({ name }) => name)))];
    const heads = ["", "Run", "State", "Iterations", "Score", "Last", "Best", "at", ...names, "Started"];
    const rows = runs.map((run) => {
      const at = [...now.chosen].indexOf(run.name);
      const box = el("input", { type: "checkbox", "aria-label": `compare ${run.name}`, onchange: () => toggle(run.name) });
      box.checked = at >= 0;
      const swatch = el("span", { class: "swatch" });
      if (at >= 0) swatch.style.background = charts.color(at);
      const of = run.max_iter && run.max_iter !== run.iterations ? ` of ${run.max_iter.toLocaleString("en")}` : "";
      const setting = (name) => el("span", { class: "mono" }, run.settings.find((fact) => fact.name === name)?.value || "");
      return [
        el("label", {}, box, " ", swatch), el("a", { href: address(run.name) }, run.name), el("span", { class: `state ${run.state}` }, run.state),
        `${run.iterations.toLocaleString("en")}${of}`, run.score, run.last, run.best, run.at, ...names.map(setting), el("span", {}, run.began),
      ];
    });
    return dom.table(heads, rows, "runs");
  }

  function toggle(name) {
    if (!now.chosen.delete(name)) now.chosen.add(name);
    show("runs", list());
    return compare();
  }

  async function compare() {
    const query = [...now.chosen].map((name) => `run=${encodeURIComponent(name)}`).join("&");
    now.curves = query ? await live.json(`curves.json?${query}`) : [];
    draw();
  }

  function draw() {
    const metric = (line) => line.name.replace(/^test \d+ /, "test ");
    const names = [...new Set(now.curves.flatMap(({ lines }) => lines.map(metric)))];
    const shown = ["train loss", "test loss", ...names.filter((name) => name.startsWith("test "))].filter((name) => names.includes(name));
    const some = now.metric && names.includes(now.metric) ? [now.metric] : [...new Set(shown)].slice(0, 4);
    const until = charts.end(now.curves.flatMap(({ lines }) => lines.map((line) => ({ xs: line.iterations })))) || null;
    const of = (name) => {
      const lines = now.curves.flatMap(({ run, lines }) =>
        lines.filter((line) => metric(line) === name).slice(0, 1).map((line) => ({
          ...charts.placed(line, "iteration", 1), name: run, color: [...now.chosen].indexOf(run), plain: name === "learning rate",
        })));
      return { title: name, lines, options: { by: "iteration", kind: name.includes("accuracy") ? "accuracy" : "", until } };
    };
    const select = el("select", { onchange: (event) => ((now.metric = event.target.value || null), draw()) },
      el("option", { value: "" }, "main metrics"), names.map((name) => el("option", { value: name }, name)));
    select.value = now.metric || "";
    show("compared", now.curves.length
      ? [el("h2", {}, "Comparison"), el("div", { class: "options" }, el("label", {}, "Show ", select))]
      : now.page.runs.length ? el("p", { class: "quiet" }, "Choose runs to compare their curves.") : null);
    charts.all(byId("charts"), some.map(of));
  }

  async function update(page) {
    if (page.kind === "error") return show("runs", el("p", { class: "note error" }, page.error));
    now.page = page;
    document.title = `${page.title} · netdef`;
    show("title", page.title);
    show("file", page.folder);
    const names = page.runs.map((run) => run.name);
    now.chosen = new Set(now.chosen ? [...now.chosen].filter((name) => names.includes(name)) : names.slice(0, FIRST));
    show("runs", list());
    await compare();
  }

  charts.recolored(() => now.page && (show("runs", list()), draw()));
  live.watch(update);
})();
