"use strict";
// The list of errors, warnings and notes.

const faults = (() => {
  const { el } = dom;
  const ORDER = ["error", "warning", "note"];

  function counted(list) {
    const words = ORDER.map((kind) => [list.filter((fault) => fault.severity === kind).length, kind]);
    return words.filter(([n]) => n).map(([n, kind]) => dom.plural(n, kind)).join(", ") || "no problems";
  }

  // The marked part of a line, and where it is; a link, if its layer is in the diagram.
  function place({ where, before, marked, after }, i, go) {
    const name = `${i ? "used at " : ""}${where}`;
    return [
      el("p", { class: "where" }, go && !i ? el("button", { class: "link", onclick: go }, name) : name),
      el("pre", { class: "wrapped" }, before, el("mark", {}, marked || " "), after),
    ];
  }

  function item(fault, on) {
    const layer = fault.layers.find(on.has);
    const go = layer && (() => on.layer(layer));
    return el(
      "li",
      { class: `fault ${fault.severity}` },
      el("p", { class: "head" }, el("b", {}, fault.summary), " ", el("code", {}, fault.code)),
      el("p", {}, fault.detail.charAt(0).toUpperCase() + fault.detail.slice(1)),
      fault.marks.map((mark, i) => place(mark, i, go)),
      fault.hint ? el("p", { class: "hint" }, `Hint: ${fault.hint}`) : null
    );
  }

  const sorted = (found) => ORDER.flatMap((kind) => found.filter((fault) => fault.severity === kind));
  const list = (found, on) => el("ul", { class: "faults" }, sorted(found).map((fault) => item(fault, on)));

  return { list, counted };
})();
