"use strict";
// The diagram as SVG that can be zoomed and moved: by wheel, by dragging, by two fingers, and by keys.

const picture = (() => {
  const { svg } = dom;
  const MOST = 4; // scale
  const LEGIBLE = 0.55; // scale below which a diagram is not shown as a whole at first

  // Creates the picture in an element.  `on` has the functions `select(box)`, `open(box)`, `close(frame)`.
  function create(pane, on) {
    const scene = svg("g");
    const root = svg("svg", { class: "picture", tabindex: 0, role: "application", "aria-label": "diagram of the net" }, scene);
    pane.replaceChildren(root);
    const view = { x: 0, y: 0, scale: 1 };
    let drawn = null;
    let fits = true; // until the user moves it

    function apply() {
      scene.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
    }

    function fit() {
      if (!drawn) return;
      const { clientWidth: wide, clientHeight: high } = pane;
      const margin = 24;
      const inWidth = (wide - 2 * margin) / drawn.width;
      const whole = Math.min(inWidth, (high - 2 * margin) / drawn.height);
      const inHeight = (high - 2 * margin) / drawn.height;
      const most = drawn.width > drawn.height ? inHeight : inWidth; // one side of a long diagram is shown
      view.scale = Math.min(1.2, whole >= LEGIBLE ? whole : Math.max(whole, Math.min(most, 0.9)));
      view.x = Math.max(margin, (wide - drawn.width * view.scale) / 2);
      view.y = Math.max(margin, (high - drawn.height * view.scale) / 2);
      fits = true;
      apply();
    }

    function zoom(factor, x = pane.clientWidth / 2, y = pane.clientHeight / 2) {
      const least = drawn ? Math.min(0.1, 0.5 * Math.min(pane.clientWidth / drawn.width, pane.clientHeight / drawn.height)) : 0.1;
      const scale = Math.min(MOST, Math.max(least, view.scale * factor));
      view.x = x - ((x - view.x) * scale) / view.scale;
      view.y = y - ((y - view.y) * scale) / view.scale;
      view.scale = scale;
      fits = false;
      apply();
    }

    function move(dx, dy) {
      view.x += dx;
      view.y += dy;
      fits = false;
      apply();
    }

    // Moves a box into the middle if it is not in sight.
    function reveal(key) {
      const box = drawn?.boxes.find((one) => one.key === key);
      if (!box) return;
      const [x, y] = [view.x + box.at[0] * view.scale, view.y + box.at[1] * view.scale];
      const margin = 40;
      const inside = x > margin && y > margin && x < pane.clientWidth - margin && y < pane.clientHeight - margin;
      if (inside && view.scale >= 0.3) return;
      view.scale = Math.max(view.scale, 0.6);
      view.x = pane.clientWidth / 2 - box.at[0] * view.scale;
      view.y = pane.clientHeight / 2 - box.at[1] * view.scale;
      fits = false;
      apply();
    }

    function draw(places) {
      drawn = places;
      scene.replaceChildren(
        ...places.frames.map((one) => frameOf(one, on)),
        ...places.arrows.flatMap(arrowOf),
        ...places.loose.map(looseOf),
        ...places.boxes.map((box) => boxOf(box, on)),
        ...places.frames.map((one) => handleOf(one, on))
      );
      if (fits) fit();
    }

    // Calls `kinds(box)` for each box, which returns the classes that it has besides its own.
    function mark(kinds) {
      for (const box of drawn?.boxes || []) {
        const node = scene.querySelector(`[data-key="${box.key}"]`);
        node.setAttribute("class", [`box family-${box.family}`, ...kinds(box)].join(" "));
      }
    }

    listen(root, pane, { zoom, move, fit });
    new ResizeObserver(() => fits && fit()).observe(pane);
    return { draw, mark, reveal, zoom, fit };
  }

  function boxOf(box, on) {
    const [x, y] = box.at;
    const top = y - box.height / 2;
    const text = (line, i) => svg("text", { class: "line", x, y: top + 33 + layout.ROW * i }, line);
    const choose = () => on.select(box);
    const open = () => box.folded.length && on.open(box);
    const plus = svg(
      "g",
      { class: "handle", onclick: (event) => (event.stopPropagation(), open()) },
      svg("title", {}, "Unfold"),
      svg("circle", { cx: x + box.width / 2 - 13, cy: top + 13, r: 8 }),
      svg("path", { d: `M${x + box.width / 2 - 17},${top + 13}h8m-4,-4v8` })
    );
    return svg(
      "g",
      {
        class: `box family-${box.family}`,
        "data-key": box.key,
        tabindex: 0,
        role: "button",
        "aria-label": box.whole,
        onclick: choose,
        ondblclick: open,
        onkeydown: (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), choose()),
      },
      svg("title", {}, box.whole),
      box.folded.length > 1 ? plate(box, x, top, 6) : null,
      box.folded.length > 1 ? plate(box, x, top, 3) : null,
      plate(box, x, top, 0),
      svg("text", { class: "title", x: x - (box.folded.length ? 8 : 0), y: top + 17 }, box.title),
      box.lines.map(text),
      box.folded.length ? plus : null
    );
  }

  const plate = (box, x, top, shift) =>
    svg("rect", { x: x - box.width / 2 + shift, y: top + shift, width: box.width, height: box.height, rx: 6 });

  const frameOf = ({ bb: [x0, y0, x1, y1] }) =>
    svg("rect", { class: "frame", x: x0, y: Math.min(y0, y1), width: x1 - x0, height: Math.abs(y1 - y0), rx: 8 });

  function handleOf({ frame, bb: [x0, y0, , y1] }, on) {
    const top = Math.min(y0, y1);
    const close = () => on.close(frame);
    return svg(
      "g",
      {
        class: "frame-title handle",
        tabindex: 0,
        role: "button",
        onclick: close,
        onkeydown: (event) => event.key === "Enter" && close(),
      },
      svg("title", {}, `Fold ${frame.title}`),
      svg("circle", { cx: x0 + 14, cy: top + 14, r: 7 }),
      svg("path", { d: `M${x0 + 11},${top + 14}h6` }),
      svg("text", { x: x0 + 26, y: top + 18 }, frame.title.length > 42 ? `${frame.title.slice(0, 41)}…` : frame.title)
    );
  }

  function arrowOf(arrow) {
    const nodes = [svg("path", { class: "arrow", d: arrow.path, "data-start": arrow.start, "data-end": arrow.end })];
    if (arrow.point) nodes.push(svg("polygon", { class: "point", points: head(arrow.last, arrow.point) }));
    if (arrow.at && arrow.label) nodes.push(svg("text", { class: "shape", x: arrow.at[0], y: arrow.at[1] + 3 }, arrow.label));
    return nodes;
  }

  // The triangle of an arrow, from the end of its curve to its point.
  function head([x, y], [px, py]) {
    const length = Math.hypot(px - x, py - y) || 1;
    const [dx, dy] = [((py - y) / length) * 3, (-(px - x) / length) * 3];
    return `${px},${py} ${x + dx},${y + dy} ${x - dx},${y - dy}`;
  }

  const looseOf = ({ name, at: [x, y] }) => svg("text", { class: "loose", x, y: y + 4 }, name);

  function listen(root, pane, { zoom, move, fit }) {
    const local = (event) => {
      const rect = pane.getBoundingClientRect();
      return [event.clientX - rect.left, event.clientY - rect.top];
    };
    root.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const step = event.deltaMode === 1 ? 30 : 1; // lines or pixels
        zoom(Math.exp(-event.deltaY * step * (event.ctrlKey ? 0.01 : 0.002)), ...local(event));
      },
      { passive: false }
    );
    const held = new Map(); // pointers that are down
    let dragged = false;
    root.addEventListener("pointerdown", (event) => {
      held.set(event.pointerId, local(event));
      dragged = false;
    });
    root.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const now = local(event);
      const far = Math.hypot(now[0] - before[0], now[1] - before[1]) > 3;
      if (!dragged && !far) return;
      if (!dragged) root.setPointerCapture(event.pointerId);
      dragged = true;
      if (held.size === 2) {
        const other = [...held].find(([id]) => id !== event.pointerId)[1];
        const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
        zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      } else move(now[0] - before[0], now[1] - before[1]);
      held.set(event.pointerId, now);
    });
    for (const name of ["pointerup", "pointercancel"]) root.addEventListener(name, (event) => held.delete(event.pointerId));
    root.addEventListener("click", (event) => dragged && (event.stopPropagation(), (dragged = false)), { capture: true });
    const keys = {
      "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: fit,
      ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0), ArrowUp: () => move(0, 60), ArrowDown: () => move(0, -60),
    };
    root.addEventListener("keydown", (event) => {
      if (keys[event.key] && !event.ctrlKey && !event.metaKey) (event.preventDefault(), keys[event.key]());
    });
  }

  return { create };
})();
