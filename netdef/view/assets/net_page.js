"use strict";
// Starts the page of a file: with the data that it holds itself, or with those of the server.

(() => {
  const update = net.create();
  const use = (page) => {
    document.title = `${page.title} · netdef`;
    dom.show("title", page.title);
    dom.show("file", page.file);
    return update(page);
  };
  const own = document.getElementById("data");
  if (own) use(JSON.parse(own.textContent));
  else live.watch((page) => (page.kind === "net" ? use(page) : undefined));
})();
