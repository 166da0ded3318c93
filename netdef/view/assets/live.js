"use strict";
// What the server knows, and when it changes.

const live = (() => {
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
    async function changed() {
      if (busy) return void (again = true);
      busy = true;
      try {
        const page = await json("page.json");
        const text = JSON.stringify(page);
        if (text !== before) {
          before = text;
          await use(page);
        }
        lost("");
      } catch (error) {
        lost(error instanceof TypeError ? ended : `This page may be out of date: ${error.message}`);
        console.error(error);
      }
      for (const other of others) await other();
      busy = false;
      if (again) {
        again = false;
        await changed();
      }
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
