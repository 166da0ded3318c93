"use strict";
// How the last snapshot does on the test data: the confusion matrix, and the images that are most wrong.

const confusion = (() => {
  const { el } = dom;
  const MANY = 12; // classes from which on cells are small
  const MOST = 60; // classes of a matrix; of more, the most frequent errors are listed

  // A cell is darker for a larger fraction of its class: blue if correct, orange if wrong.
  function cell(count, of, right) {
    const share = of ? count / of : 0;
    const strength = count ? 0.12 + 0.78 * (right ? share : Math.min(1, 3 * share)) : 0;
    const node = el("td", {}, count ? String(count) : "");
    if (count) node.style.background = `rgba(${right ? "0, 114, 178" : "213, 94, 0"}, ${strength.toFixed(2)})`;
    if (strength > 0.6) node.style.color = "#fff";
    return node;
  }

  function matrix({ names, counts }) {
    const head = el("tr", {}, el("th", {}, "true \\ predicted"), names.map((name) => el("th", {}, name)));
    const rows = counts.map((row, i) => {
      const sum = row.reduce((a, b) => a + b, 0);
      return el("tr", {}, el("th", {}, names[i]), row.map((count, j) => cell(count, sum, i === j)));
    });
    const kind = names.length > MANY ? "matrix many" : "matrix";
    return el("div", { class: "scroll" }, el("table", { class: kind }, el("thead", {}, head), el("tbody", {}, rows)));
  }

  function frequent({ names, counts }) {
    const wrong = counts.flatMap((row, i) => row.map((n, j) => [names[i], names[j], n]).filter(([, , n], j) => n && i !== j));
    const rows = wrong.sort((a, b) => b[2] - a[2]).slice(0, 20).map(([a, b, n]) => [a, b, String(n)]);
    return [el("p", {}, `The most frequent errors among ${names.length} classes:`), dom.table(["True class", "Predicted class", "Count"], rows)];
  }

  function mistakes(found, detects) {
    const figure = ({ image, words }) =>
      el("figure", {}, el("img", { src: image, alt: words, class: detects ? undefined : "small" }), el("figcaption", {}, words));
    return [el("h2", {}, "Most wrong"), el("div", { class: detects ? "mistakes wide" : "mistakes" }, found.map(figure))];
  }

  function shown(judged) {
    const detects = !judged.names.length;
    return [
      judged.words ? el("p", {}, judged.words, el("span", { class: "quiet" }, ` Weights: ${judged.snapshot}.`)) : null,
      judged.notes.length ? el("ul", { class: "notes" }, judged.notes.map((note) => el("li", {}, note))) : null,
      judged.names.length ? (judged.names.length > MOST ? frequent(judged) : matrix(judged)) : null,
      judged.mistakes.length ? mistakes(judged.mistakes, detects) : null,
    ];
  }

  return { shown };
})();
