"use strict";
// The page of a run: results, and its net.

(() => {
  const { el, byId, show } = dom;
  const now = { page: null, tab: "results", by: "iteration", log: false, updateNet: null, judged: null, asked: "" };

  function tabs() {
    const tab = (name, words) =>
      el("button", { role: "tab", "aria-selected": String(now.tab === name), onclick: () => choose(name) }, words);
    show("tabs", tab("results", "Results"), tab("net", "Net"));
    byId("results").hidden = now.tab !== "results";
    byId("net").hidden = now.tab !== "net";
    document.body.classList.toggle("full", now.tab === "net");
  }

  async function choose(name) {
    now.tab = name;
    tabs();
    if (name !== "net" || now.updateNet) return;
    now.updateNet = net.create();
    await now.updateNet(await live.json("net.json"));
  }

  function progress({ state, iterations, max_iter: most }) {
    const of = most ? ` of ${most.toLocaleString("en")}` : "";
    return [
      el("p", {}, el("span", { class: `state ${state}` }, state), ` ${iterations.toLocaleString("en")}${of} iterations`),
      most && state !== "finished" ? el("progress", { max: most, value: Math.min(iterations, most) }) : null,
    ];
  }

  const pairs = (facts) => facts.map(({ name, value }) => `${name}=${value}`).join("  ");

  function draw() {
    const { page } = now;
    show(
      "summary",
      progress(page),
      page.settings.length ? el("p", { class: "mono quiet" }, pairs(page.settings)) : null,
      page.notes.length ? el("ul", { class: "notes" }, page.notes.map((note) => el("li", {}, note))) : null,
      el("div", { class: "cards" }, page.cards.map(({ name, value }) => el("div", {}, el("b", {}, value), el("span", {}, name))))
    );
    drawCharts();
    const scores = page.scores.map(({ name, last, best, at }) => [name, last, best, at]);
    show("scores", scores.length ? [el("h2", {}, "Scores"), dom.table(["Metric", "Last", "Best", "Iteration of best"], scores)] : []);
    show("machine", el("h2", {}, "Hardware and versions"), machine(page.sittings));
  }

  function drawCharts() {
    const timed = now.page.charts.some((chart) => chart.lines.some((line) => line.seconds.some((s) => s !== null)));
    const [per, words] = charts.unit(now.page.charts.flatMap((chart) => chart.lines));
    const by = now.by === "iteration" ? "iteration" : words;
    const all = now.page.charts.map((chart) => ({ ...chart, lines: chart.lines.map((line) => charts.placed(line, now.by, per)) }));
    const until = charts.end(all.flatMap((chart) => chart.lines)) || null;
    const of = ({ kind, title, lines }) => {
      const first = lines[0].test ? 1 : 0; // tests have another color than training
      const shown = lines.map((line, i) => ({ ...line, color: i + first, plain: kind === "rate" }));
      return { title, lines: shown, options: { by, kind, log: now.log && kind === "loss", until } };
    };
    show("options", all.length ? [el("h2", {}, "Curves"), options(timed)] : null);
    charts.all(byId("charts"), all.map(of));
  }

  function options(timed) {
    const set = (change) => (Object.assign(now, change), drawCharts());
    const choice = (value, words) =>
      el("button", { "aria-selected": String(now.by === value), onclick: () => set({ by: value }) }, words);
    const box = el("input", { type: "checkbox", onchange: (event) => set({ log: event.target.checked }) });
    box.checked = now.log;
    return el("div", { class: "options" },
      timed ? el("span", { class: "tabs" }, choice("iteration", "by iteration"), choice("time", "by time")) : null,
      el("label", {}, box, " loss on a logarithmic axis"));
  }

  function machine(sittings) {
    if (!sittings.length) return el("p", { class: "quiet" }, "Not recorded.");
    const names = [...new Set(sittings.flatMap((sitting) => sitting.map(({ name }) => name)))];
    const value = (sitting, name) => sitting.find((fact) => fact.name === name)?.value || "";
    const heads = sittings.length > 1 ? ["", ...sittings.map((_, i) => `Session ${i + 1}`)] : [];
    return dom.table(heads, names.map((name) => [name, ...sittings.map((sitting) => el("span", {}, value(sitting, name)))]));
  }

  // The test of the last snapshot: begun at once for a run that has ended, otherwise when the user asks for it, because
  // it takes time from the training.
  async function judge(start) {
    const found = await live.json("judged.json", start ? { method: "POST" } : {});
    const { page } = now;
    const stale = page.snapshot && found.tested !== page.snapshot;
    if (!start && !found.working && stale && page.state !== "running" && now.asked !== page.snapshot) {
      now.asked = page.snapshot;
      return judge(true);
    }
    const button = el("button", { onclick: () => judge(true) }, `Test ${page.snapshot} on the test data`);
    show(
      "judged",
      el("h2", {}, "On the test data"),
      found.working ? el("p", { class: "quiet", role: "status" }, `Testing ${found.working} ...`) : null,
      !found.working && stale ? el("p", {}, button) : null,
      !page.snapshot ? el("p", { class: "quiet" }, "The run has no snapshot yet.") : null,
      found.judged ? confusion.shown(found.judged) : null
    );
  }

  async function update(page) {
    if (page.kind === "error") return show("summary", el("p", { class: "note error" }, page.error));
    now.page = page;
    document.title = `${page.name} · ${page.state} · netdef`;
    show("title", page.name);
    show("file", page.title === page.name ? "" : `run of ${page.title}`);
    byId("up").hidden = !location.pathname.startsWith("/runs/");
    tabs();
    draw();
  }

  charts.recolored(() => now.page && drawCharts());
  live.watch(update);
  live.also(() => now.page && judge(false));
})();
