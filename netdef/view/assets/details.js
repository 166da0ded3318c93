"use strict";
// The panel of a layer: shapes, parameters, fields, source and explanation; and that of a folded box.

const details = (() => {
  const { el } = dom;

  const section = (title, ...content) => el("section", {}, el("h3", {}, title), content);

  const facts = (rows, kind) =>
    el("dl", { class: kind }, rows.flatMap(({ name, value }) => [el("dt", {}, name), el("dd", {}, value || "?")]));

  function layer(found, page) {
    const entry = page.types[found.type];
    const faults = page.faults.filter((fault) => fault.layers.includes(found.name));
    return [
      el("h2", {}, found.name),
      el("p", { class: `kind family-${found.family}` }, el("span", {}, found.type)),
      entry ? el("p", { class: "summary" }, `${entry.summary}.`) : null,
      faults.map(faultsOf),
      found.bottoms.length ? section("Inputs", facts(found.bottoms, "shapes")) : null,
      found.tops.length ? section("Outputs", facts(found.tops, "shapes")) : null,
      found.weights.length ? section("Parameters", el("p", { class: "mono" }, found.weights.join("   "))) : null,
      found.facts.length ? section("Cost of a batch", facts(found.facts)) : null,
      found.fields.length ? section("Fields", facts(found.fields, "fields")) : null,
      found.places.length ? section("Source", found.places.map(place)) : null,
      entry ? explanation(entry) : null,
    ];
  }

  const faultsOf = (fault) => el("p", { class: `note ${fault.severity}` }, el("b", {}, fault.summary), " ", fault.detail);

  const place = ({ file, line, text }, i) =>
    el("div", { class: "place" }, el("p", { class: "where" }, i ? "used at " : "", `${file}:${line}`), el("pre", { class: "wrapped" }, text));

  function explanation(entry) {
    const paragraphs = entry.doc.split("\n\n").map((text) => el("p", { class: text.startsWith(" ") ? "pre" : undefined }, text));
    return el(
      "details",
      { class: "explanation" },
      el("summary", {}, `Explanation of ${entry.name}`),
      paragraphs,
      entry.fields.length ? [el("h4", {}, entry.block ? `Fields of ${entry.block}` : "Fields"), fields(entry.fields)] : null,
      entry.beside.length ? [el("h4", {}, "Other fields"), fields(entry.beside)] : null,
      entry.examples.map((text) => el("pre", {}, text))
    );
  }

  const fields = (list) =>
    el(
      "dl",
      { class: "explained" },
      [...list]
        .sort((a, b) => a.inert - b.inert)
        .flatMap((field) => [
          el("dt", {}, field.name, " ", el("span", {}, `${field.type}, ${field.default === "required" ? "required" : `default ${field.default}`}`)),
          el("dd", {}, field.doc, field.fields.length ? fields(field.fields) : null),
        ])
    );

  // A box: its layer, with those that work in place on its output below; of a folded box, the list of its layers.
  function box(found, layers, page, on) {
    const own = found.names.map((name) => layers.get(name)).filter(Boolean);
    if (!found.folded.length) {
      const [first, ...others] = own;
      const more = others.map((one) => el("div", { class: "inplace" }, layer(one, page)));
      return [...layer(first, page), others.length ? el("p", { class: "divider" }, "In place on its output") : null, more];
    }
    const link = (one) => el("button", { class: "link", onclick: () => on.layer(one.name) }, one.name);
    const row = (one) => el("li", {}, link(one), el("span", {}, `${one.words}  ${one.tops[0]?.value || ""}`));
    return [
      el("h2", {}, found.title),
      el("p", { class: "summary" }, found.lines.join(" · ")),
      el("p", {}, el("button", { onclick: () => on.open(found) }, "Unfold")),
      section("Layers", el("ul", { class: "layers" }, own.map(row))),
    ];
  }

  return { box, layer };
})();
