"use strict";
// Elements of a page.  Every text becomes a text node, so that no name is ever read as markup.

const dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  function filled(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : String(value));
    }
    for (const child of children.flat(Infinity)) {
      if (child !== null && child !== undefined && child !== false) node.append(child);
    }
    return node;
  }

  const el = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);
  const byId = (id) => document.getElementById(id);

  // Replaces the children of the element with this id.
  function show(id, ...children) {
    const node = byId(id);
    node.replaceChildren();
    return filled(node, {}, children);
  }

  // A table; cells are texts or elements, and those that begin with a digit are aligned to the right.
  function table(heads, rows, kind = "") {
    const number = (content, i) => typeof content === "string" && /^[-\d]/.test(content) && i > 0;
    const kinds = heads.map((_, i) => rows.some((row) => number(row[i], i)) && "number");
    const cell = (content, i) => el(i === 0 ? "th" : "td", { class: number(content, i) && "number" }, content);
    return el(
      "div",
      { class: "scroll" },
      el(
        "table",
        { class: kind || undefined },
        heads.length ? el("thead", {}, el("tr", {}, heads.map((head, i) => el("th", { class: kinds[i] }, head)))) : null,
        el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell))))
      )
    );
  }

  const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

  return { el, svg, byId, show, table, plural };
})();
