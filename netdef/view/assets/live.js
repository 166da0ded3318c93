"use strict";
// What the server knows, and when it changes.

const live = (() => {
  async function json(address, options) {
    const answer = await fetch(address, options);
    if (!answer.ok) throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
    return answer.json();
  }

  const others = []; // called after each change, also of what is not on the page itself

  // Calls `use` with the page, at once and after each change; says at the top of the page when the server has ended.
  function watch(use) {
    let before = null;
    let busy = false; // while a page is fetched and drawn, other changes wait
    let again = false;
    const gone = (is) => document.body.classList.toggle("gone", is);
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
        gone(false);
      } catch (error) {
        gone(true);
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
    events.onerror = () => gone(true);
    events.onopen = () => gone(false);
    window.addEventListener("pagehide", () => events.close());
  }

  const also = (call) => others.push(call);

  return { json, watch, also };
})();
