"use strict";
// Which boxes, arrows and frames of a diagram are visible: each closed frame is one box, and a chain of equal closed
// frames is one box, too.  Frames are named by `id`, which is the same after the file was edited.

const fold = (() => {
  const CHAIN = 3; // equal boxes, one after the other, from which on they are drawn as one
  const MANY = 45; // boxes that are drawn without folding

  // Adds to each frame its `id`, `depth`, and the frames around it, outermost first, itself last.
  function framesOf(diagram) {
    const frames = new Map(diagram.frames.map((frame) => [frame.key, { ...frame, around: [], count: 0 }]));
    const seen = new Map(); // frames may have equal titles
    for (const frame of frames.values()) {
      const outer = frames.get(frame.inside);
      frame.around = outer ? [...outer.around, frame] : [frame];
      frame.depth = frame.around.length - 1;
      const title = `${outer ? `${outer.id} / ` : ""}${frame.title}`;
      seen.set(title, (seen.get(title) || 0) + 1);
      frame.id = seen.get(title) > 1 ? `${title} (${seen.get(title)})` : title;
    }
    for (const box of diagram.boxes) {
      for (const frame of frames.get(box.frame)?.around || []) frame.count += 1;
    }
    return frames;
  }

  // The frames that are closed at first: the innermost ones, until the diagram is small enough.
  function initial(diagram) {
    const frames = [...framesOf(diagram).values()];
    const deepest = Math.max(-1, ...frames.map((frame) => frame.depth));
    for (let depth = deepest + 1; depth > 0; depth--) {
      const state = atDepth(diagram, depth);
      if (visible(diagram, state).boxes.length <= MANY) return state;
    }
    return atDepth(diagram, 0);
  }

  // The state in which frames from this depth on are closed.
  function atDepth(diagram, depth) {
    const frames = [...framesOf(diagram).values()].filter((frame) => frame.depth >= depth);
    return { closed: new Set(frames.map((frame) => frame.id)), spread: new Set(), depth };
  }

  // The number of levels of frames.
  const deepest = (diagram) => Math.max(0, ...[...framesOf(diagram).values()].map((frame) => frame.depth + 1));

  function visible(diagram, state) {
    const frames = framesOf(diagram);
    const boxes = new Map();
    const home = new Map(); // key of a box -> key of the box that is drawn
    for (const box of diagram.boxes) {
      const around = frames.get(box.frame)?.around || [];
      const frame = around.find((one) => state.closed.has(one.id) && one.count > 1);
      if (!frame) {
        boxes.set(box.key, { ...box, folded: [], template: "" });
        home.set(box.key, box.key);
        continue;
      }
      const whole = boxes.get(frame.key) || closedBox(frame);
      whole.names = [...whole.names, ...box.names];
      whole.parameters += box.parameters;
      boxes.set(frame.key, whole);
      home.set(box.key, frame.key);
    }
    const list = [...boxes.values()];
    for (const box of list) if (box.folded.length) box.lines = counted(box);
    const arrows = moved(diagram.arrows, home);
    return gathered({ boxes: list, arrows, loose: { ...diagram.loose }, frames, home }, state);
  }

  function closedBox(frame) {
    const { key, template, title, inside } = frame;
    return { key, title, template, family: "template", frame: inside, names: [], parameters: 0, folded: [frame] };
  }

  const counted = (box) => [
    dom.plural(box.names.length, "layer"),
    ...(box.parameters ? [dom.plural(box.parameters, "parameter")] : []),
  ];

  function moved(arrows, home) {
    const found = new Map();
    for (const arrow of arrows) {
      const start = home.get(arrow.start) || arrow.start;
      const end = home.get(arrow.end) || arrow.end;
      if (start !== end) found.set(`${start} ${end} ${arrow.text}`, { start, end, text: arrow.text });
    }
    return [...found.values()];
  }

  // Draws chains of equal folded boxes as one box, except those that the user has spread.
  function gathered(drawn, state) {
    const ends = new Map(drawn.boxes.map((box) => [box.key, { into: new Set(), out: new Set() }]));
    for (const { start, end } of drawn.arrows) {
      ends.get(start)?.out.add(end);
      ends.get(end)?.into.add(start);
    }
    const only = (set, key) => set.size === 1 && set.has(key);
    const same = (a, b) =>
      a.template === b.template && a.frame === b.frame && a.parameters === b.parameters && a.names.length === b.names.length;
    const follows = (box, last) =>
      box.folded.length && same(box, last) && only(ends.get(last.key).out, box.key) && only(ends.get(box.key).into, last.key);
    const chains = [];
    for (const box of drawn.boxes) {
      const chain = chains.at(-1);
      if (chain && follows(box, chain.at(-1))) chain.push(box);
      else chains.push([box]);
    }
    const boxes = [];
    const home = new Map();
    for (const chain of chains) {
      const whole = chain.length >= CHAIN && !state.spread.has(chain[0].folded[0]?.id);
      if (whole) {
        boxes.push(chainBox(chain));
        for (const box of chain) home.set(box.key, chain[0].key);
      } else boxes.push(...chain);
    }
    const all = new Map([...drawn.home].map(([key, at]) => [key, home.get(at) || at]));
    return { ...drawn, boxes, arrows: moved(drawn.arrows, home), home: all };
  }

  function chainBox(chain) {
    const [first, last] = [chain[0], chain.at(-1)];
    const short = (box) => (box.title.startsWith(first.template) ? box.title.slice(first.template.length).trim() : box.title);
    const whole = {
      ...first,
      title: `${chain.length} × ${first.template}`,
      names: chain.flatMap((box) => box.names),
      parameters: chain.reduce((sum, box) => sum + box.parameters, 0),
      folded: chain.flatMap((box) => box.folded),
    };
    const named = short(first) && short(last) ? [`${short(first)} to ${short(last)}`] : [];
    return { ...whole, lines: [...named, ...counted(whole)] };
  }

  // The state after the folded box was opened: a chain into its boxes, one box into its contents.
  function opened(state, box) {
    const closed = new Set(state.closed);
    const spread = new Set(state.spread);
    if (box.folded.length > 1) for (const frame of box.folded) spread.add(frame.id);
    else closed.delete(box.folded[0].id);
    return { ...state, closed, spread };
  }

  // The state after a frame was closed.
  function closed(state, frame) {
    const inside = (id) => id.startsWith(`${frame.id} / `);
    return {
      ...state,
      closed: new Set([...state.closed, frame.id]),
      spread: new Set([...state.spread].filter((id) => !inside(id))),
    };
  }

  return { initial, atDepth, deepest, visible, opened, closed };
})();
