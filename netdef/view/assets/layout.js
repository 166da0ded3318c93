"use strict";
// Places of boxes, arrows and frames, by Graphviz (vendor/viz.js).  Sizes are those of the texts in this browser.

const layout = (() => {
  const TITLE = "600 13px system-ui, sans-serif";
  const LINE = "11px system-ui, sans-serif";
  const LABEL = "10px system-ui, sans-serif";
  const ROW = 15; // pixels of a line below the title
  const LONGEST = 42; // characters of a text in a box
  const INCH = 72; // pixels, as Graphviz counts
  const pen = document.createElement("canvas").getContext("2d");
  let graphviz = null;

  const shortened = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST - 15)}…${text.slice(-14)}` : text);

  function width(text, font) {
    pen.font = font;
    return pen.measureText(text).width;
  }

  function sized(box) {
    const title = shortened(box.title);
    const lines = box.lines.map(shortened);
    const wide = Math.max(width(title, TITLE) + (box.folded.length ? 18 : 0), ...lines.map((line) => width(line, LINE)));
    return { ...box, title, lines, whole: box.title, width: Math.ceil(wide) + 26, height: 26 + ROW * lines.length };
  }

  const node = (key, wide, high) => ({
    name: key,
    attributes: { shape: "box", fixedsize: "true", label: "", width: wide / INCH, height: high / INCH },
  });

  // The frames that surround at least two things: with the boxes that are drawn in them.
  function nested(drawn) {
    const held = new Map();
    for (const box of drawn.boxes) {
      for (const frame of drawn.frames.get(box.frame)?.around || []) held.set(frame, (held.get(frame) || 0) + 1);
    }
    const worth = (frame) => {
      const outer = drawn.frames.get(frame.inside);
      return held.get(frame) > 1 && !(outer && held.get(outer) === held.get(frame));
    };
    const top = { frame: null, boxes: [], inside: [] };
    const groups = new Map([[null, top]]);
    for (const box of drawn.boxes) {
      let at = top;
      for (const frame of (drawn.frames.get(box.frame)?.around || []).filter(worth)) {
        if (!groups.has(frame)) {
          groups.set(frame, { frame, boxes: [], inside: [] });
          at.inside.push(groups.get(frame));
        }
        at = groups.get(frame);
      }
      at.boxes.push(box);
    }
    return top;
  }

  const cluster = (group) => ({
    name: `cluster_${group.frame.key}`,
    graphAttributes: { label: shortened(group.frame.title), labeljust: "l", fontsize: 11, fontname: "Arial", margin: 10 },
    nodes: group.boxes.map((box) => ({ name: box.key })),
    subgraphs: group.inside.map(cluster),
  });

  function graph(drawn, sideways) {
    const loose = Object.entries(drawn.loose).map(([key, name]) => node(key, width(name, LINE) + 12, 20));
    return {
      name: "net",
      directed: true,
      graphAttributes: { nodesep: 0.3, ranksep: 0.34, rankdir: sideways ? "LR" : "TB" },
      nodes: [...drawn.boxes.map((box) => node(box.key, box.width, box.height)), ...loose],
      edges: drawn.arrows.map((arrow) => ({
        tail: arrow.start,
        head: arrow.end,
        // A font larger than the one of the page, so that there is room for labels in any font.
        attributes: { label: ` ${arrow.text} `, fontsize: 12, fontname: "Arial", arrowsize: 0.6 },
      })),
      subgraphs: nested(drawn).inside.map(cluster),
    };
  }

  const numbers = (text) => text.split(/[ ,]/).map(Number);

  // "e,x,y x,y ..." as the path of a curve, which ends before the point of its arrow, and the arrow's point.
  function spline(text) {
    const parts = text.split(" ");
    const point = parts[0].startsWith("e,") ? numbers(parts.shift().slice(2)) : null;
    const [first, ...rest] = parts.map(numbers);
    const curves = [];
    for (let i = 0; i + 2 < rest.length; i += 3) curves.push(`C${rest.slice(i, i + 3).map((p) => p.join(",")).join(" ")}`);
    return { path: `M${first.join(",")}${curves.join("")}`, last: rest.at(-1) || first, point };
  }

  // Returns the diagram with the places of everything, and its size; `sideways`: from left to right.
  async function placed(drawn, sideways) {
    graphviz ||= await Viz.instance();
    const whole = { ...drawn, boxes: drawn.boxes.map(sized) };
    const found = graphviz.renderJSON(graph(whole, sideways), { yInvert: true });
    const objects = new Map((found.objects || []).map((one) => [one.name, one]));
    const at = (key) => numbers(objects.get(key)?.pos || "0,0");
    const [x0, y0, x1, y1] = numbers(found.bb);
    const clusters = (found.objects || []).filter((one) => one.name.startsWith("cluster_"));
    return {
      width: Math.abs(x1 - x0),
      height: Math.abs(y1 - y0),
      boxes: whole.boxes.map((box) => ({ ...box, at: at(box.key) })),
      loose: Object.entries(drawn.loose).map(([key, name]) => ({ key, name, at: at(key) })),
      frames: clusters.map((one) => ({ frame: drawn.frames.get(one.name.slice(8)), bb: numbers(one.bb) })),
      arrows: (found.edges || [])
        .filter((edge) => edge.pos)
        .map((edge) => {
          const name = (id) => found.objects.find((one) => one._gvid === id).name;
          const label = (edge.label || "").trim();
          return { ...spline(edge.pos), start: name(edge.tail), end: name(edge.head), label, at: edge.lp ? numbers(edge.lp) : null };
        }),
      home: drawn.home,
    };
  }

  return { placed, ROW };
})();
