"use strict";
// What the server knows, and when it changes.

const live = (() => {
  const REST = 3; // pause between two pages, relative to the time that the server took for one

  async function json(address, options) {
    const answer = await fetch(address, options);
    if (!answer.ok) throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
    return answer.json();
  }

  const others = []; // called after each change, also of what is not on the page itself

  // Calls `use` with the page, at once and after each change; the page says if the server has ended, or fails.
  function watch(use) {
    let before = null;
    let busy = false; // while a page is fetched and drawn, other changes wait
    let again = false;
    const lost = (words) => {
      document.body.classList.toggle("gone", Boolean(words));
      if (words) dom.show("lost", words);
    };
    const ended = "The server has ended; this page is as it was.";
    document.body.classList.add("waiting");
    async function changed() {
      if (busy) return void (again = true);
      busy = true;
      const began = performance.now();
      let took = 0;
      try {
        const page = await json("page.json");
        took = performance.now() - began;
        const text = JSON.stringify(page);
        if (text !== before) {
          before = text;
          await use(page);
        }
        document.body.classList.remove("waiting");
        for (const other of others) await other();
        lost("");
      } catch (error) {
        document.body.classList.remove("waiting");
        lost(error instanceof TypeError ? ended : `This page may be out of date: ${error.message}`);
        console.error(error);
      }
      // The server takes long to read the records of a long run, and the training needs that time.
      setTimeout(() => {
        const repeat = again;
        busy = again = false;
        if (repeat) changed();
      }, REST * took);
    }
    const events = new EventSource("events");
    events.onmessage = changed;
    events.onerror = () => lost(ended);
    events.onopen = () => lost("");
    window.addEventListener("pagehide", () => events.close());
  }

  const also = (call) => others.push(call);

  return { json, watch, also };
})();
