"use strict";
// The page of a net: the diagram, and beside it a panel with a layer, or with the errors and warnings.

const net = (() => {
  const { el, byId, show } = dom;

  const now = { page: null, phase: null, folds: {}, chosen: null, drawn: null, layers: new Map(), sideways: false, hits: [], hit: -1 };
  const on = { select, open, close, layer: (name) => choose(name), has: (name) => now.layers.has(name) };
  let view = null; // the picture
  let search = null; // the input

  // Builds the page in the element with the id "net".  Returns a function that shows a page, again after each change.
  function create() {
    byId("net").replaceChildren(...frame());
    view = picture.create(byId("pane"), on);
    search = byId("search");
    search.addEventListener("input", () => (found(search.value), mark()));
    search.addEventListener("keydown", (event) => event.key === "Enter" && next(event.shiftKey ? -1 : 1));
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && document.activeElement !== search) (event.preventDefault(), search.focus());
      if (event.key === "Escape") (search.value = "", found(""), unselect());
    });
    return update;
  }

  function frame() {
    const button = (text, title, onclick) => el("button", { title, "aria-label": title, onclick }, text);
    return [
      el(
        "div",
        { class: "bar" },
        el("div", { id: "phases", class: "tabs", role: "tablist" }),
        el("span", { class: "tools" },
          el("span", { id: "folding" },
            button("Fold", "Fold one level of frames", () => level(-1)),
            button("Unfold", "Unfold one level of frames", () => level(1))),
          button("−", "Zoom out (-)", () => view.zoom(0.8)),
          button("+", "Zoom in (+)", () => view.zoom(1.25)),
          button("Fit", "Show the whole diagram (0)", () => view.fit()),
          el("button", { id: "sideways", title: "Draw from left to right", "aria-pressed": "false", onclick: turn }, "Sideways")),
        el("span", { class: "find" },
          el("input", { id: "search", type: "search", placeholder: "Search layers ( / )", "aria-label": "search layers" }),
          el("span", { id: "hits", role: "status" }))
      ),
      el("p", { id: "banner", role: "status" }),
      el("div", { class: "split" }, el("div", { id: "pane" }), el("aside", { id: "panel" })),
    ];
  }

  const diagram = () => now.page?.diagrams.find((one) => one.phase === now.phase);

  async function update(page) {
    now.page = page;
    const phases = page.diagrams.map((one) => one.phase);
    if (!phases.includes(now.phase)) now.phase = phases[0] || null;
    header();
    await draw();
  }

  function header() {
    const { page } = now;
    const tab = ({ phase }) =>
      el("button", { role: "tab", "aria-selected": String(phase === now.phase), onclick: () => ((now.phase = phase), header(), draw()) }, phase);
    show("phases", page.diagrams.length > 1 ? page.diagrams.map(tab) : []);
    const words = page.error
      ? `The file cannot be read: ${page.error}.${page.stale ? " The diagram is that of its last version." : ""}`
      : page.stale
        ? "The file has errors. The diagram is that of its last version without errors."
        : page.partial
          ? "The file has errors. The diagram shows what can be read of it; layers with errors have a red border."
          : "";
    show("banner", words);
  }

  async function draw() {
    const shown = diagram();
    now.layers = new Map((shown?.layers || []).map((layer) => [layer.name, layer]));
    if (!shown) {
      byId("net").classList.add("empty");
      byId("folding").hidden = true;
      now.drawn = null;
      return panel();
    }
    byId("net").classList.remove("empty");
    byId("folding").hidden = fold.deepest(shown) === 0;
    now.folds[now.phase] ||= fold.initial(shown);
    try {
      now.drawn = await layout.placed(fold.visible(shown, now.folds[now.phase]), now.sideways);
    } catch (error) {
      return show("banner", `The diagram could not be laid out: ${error.message || error}`);
    }
    view.draw(now.drawn);
    found(search.value);
    mark();
    panel();
  }

  // Selecting

  const boxOf = (name) => now.drawn?.boxes.find((box) => box.names.includes(name));

  function select(box) {
    now.chosen = { layers: box.names, box: box.key, one: null };
    mark();
    panel();
  }

  function choose(name) {
    const box = boxOf(name);
    if (!box) return;
    now.chosen = { layers: [name], box: box.key, one: name };
    mark();
    panel();
    view.reveal(box.key);
  }

  function unselect() {
    now.chosen = null;
    mark();
    panel();
  }

  function panel() {
    const { page, chosen } = now;
    const back = el("p", { class: "back" }, el("button", { class: "link", onclick: unselect }, "← ", faults.counted(page.faults)));
    const one = chosen?.one && now.layers.get(chosen.one);
    const box = chosen && boxOf(chosen.layers[0]);
    document.body.classList.toggle("chosen", Boolean(box));
    if (box && one && (box.folded.length || box.names[0] !== one.name)) return show("panel", back, details.layer(one, page));
    if (box) return show("panel", back, details.box({ ...box, title: box.whole }, now.layers, page, on));
    const totals = diagram()?.totals || [];
    show(
      "panel",
      el("h2", {}, faults.counted(page.faults).replace(/^./, (letter) => letter.toUpperCase())),
      faults.list(page.faults, on),
      totals.length ? [el("h3", {}, "This net"), el("ul", { class: "totals" }, totals.map((line) => el("li", {}, line)))] : null,
      totals.length ? el("p", { class: "quiet" }, "Click a layer for its shapes, parameters, fields, source and explanation.") : null
    );
  }

  function mark() {
    const { page, chosen, hits, hit } = now;
    const faulty = new Map([...now.layers.values()].filter((layer) => layer.faulty).map((layer) => [layer.name, "error"]));
    for (const { severity, layers } of page?.faults || []) {
      if (severity !== "note") for (const name of layers) if (faulty.get(name) !== "error") faulty.set(name, severity);
    }
    const hitSet = new Set(hits);
    const searching = search.value.trim() !== "";
    const selected = chosen && boxOf(chosen.layers[0])?.key;
    view.mark((box) => [
      ...(box.key === selected ? ["selected"] : []),
      ...(searching ? [box.names.some((name) => hitSet.has(name)) ? "hit" : "dim"] : []),
      ...(hits[hit] && box.names.includes(hits[hit]) ? ["current"] : []),
      ...new Set(box.names.map((name) => faulty.get(name)).filter(Boolean)),
    ]);
  }

  // Searching

  function found(text) {
    const wanted = text.trim().toLowerCase();
    const has = (layer) => [layer.name, layer.type, layer.words].some((word) => word.toLowerCase().includes(wanted));
    now.hits = wanted ? [...now.layers.values()].filter(has).map((layer) => layer.name) : [];
    now.hit = -1;
    show("hits", wanted ? `${now.hits.length} found` : "");
  }

  function next(step) {
    if (!now.hits.length) return;
    now.hit = (now.hit + step + now.hits.length) % now.hits.length;
    show("hits", `${now.hit + 1} of ${now.hits.length}`);
    choose(now.hits[now.hit]);
  }

  // Folding

  function refold(state) {
    now.folds[now.phase] = state;
    return draw();
  }

  function open(box) {
    return refold(fold.opened(now.folds[now.phase], box));
  }

  function close(frame) {
    return refold(fold.closed(now.folds[now.phase], frame));
  }

  async function turn() {
    now.sideways = !now.sideways;
    byId("sideways").setAttribute("aria-pressed", String(now.sideways));
    await draw();
    view.fit();
  }

  function level(step) {
    const shown = diagram();
    if (!shown) return;
    const depth = Math.min(fold.deepest(shown), Math.max(0, now.folds[now.phase].depth + step));
    refold(fold.atDepth(shown, depth));
  }

  return { create };
})();
