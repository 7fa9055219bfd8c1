// What keeps a page fresh: it counts times down, and follows the broker's stream of changes. The stream
// says only that something changed; what there is to see, the page is asked for like any other. Without
// this script everything works: a page then shows what was so when it was loaded.
"use strict";

(() => {
  const page = document.body.dataset;
  const bar = document.querySelector("[data-changed]");
  const IDLE = 10 * 60 * 1000; // nobody touched the page for so long: it stops asking, so that the session can idle out
  const CALM = 1500; // after the last touch before anything may move
  let touched = Date.now();
  let pressed = false;
  let from = page.from;
  let stream = null;
  let due = null;
  let over = false;

  /* Times that run out. The server wrote the same words; the words change here, no size does. */

  const plural = (n, noun) => (n === 1 ? `1 ${noun}` : `${n} ${noun}s`);
  const left = (ms) => {
    if (ms <= 0) return "its time is over";
    const seconds = Math.ceil(ms / 1000);
    if (seconds < 60) return `${plural(seconds, "second")} left`;
    const minutes = Math.floor(seconds / 60);
    return minutes % 60 === 0 ? `${plural(minutes / 60, "hour")} left` : `${plural(minutes, "minute")} left`;
  };
  // The reader's clock may be wrong: what counts is how much was left when the page came.
  const clocks = new WeakMap(); // time element → when it is over, by performance.now()
  const endOf = (time) => {
    if (!clocks.has(time)) {
      const served = Date.parse(page.now || "") || Date.now();
      clocks.set(time, performance.now() + Date.parse(time.dataset.until) - served);
    }
    return clocks.get(time);
  };
  const countDown = () => {
    for (const time of document.querySelectorAll("time[data-until]")) {
      const text = left(endOf(time) - performance.now());
      if (time.textContent !== text) time.textContent = text;
    }
  };
  countDown();
  setInterval(countDown, 1000);

  if (!page.live || !window.EventSource) return;

  /* Saying that the page is old, where nothing may move */

  function tell(text, action) {
    if (over) return;
    const words = document.createElement("p");
    words.textContent = text;
    const again = document.createElement("a");
    again.href = location.pathname + location.search;
    again.className = "button quiet";
    again.textContent = action;
    bar.replaceChildren(words, again);
  }

  function isOld() {
    tell("This changed.", "Look again");
    for (const form of document.querySelectorAll('form[data-ceremony="sign"]')) form.hidden = true;
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  }

  /* Replacing a list, when nobody is busy with it */

  const busy = () => {
    const main = document.querySelector("main");
    const at = document.activeElement;
    return (
      pressed || Date.now() - touched < CALM ||
      (at && at !== main && main.contains(at)) ||
      main.querySelector("details[open]:not(.filter), dialog[open]") !== null ||
      [...main.querySelectorAll("input, textarea")].some((field) => field.type !== "hidden" && field.value !== field.defaultValue) ||
      !getSelection().isCollapsed
    );
  };

  async function refresh() {
    due = null;
    if (document.hidden || over) return;
    if (Date.now() - touched > IDLE) {
      tell("This page is not kept fresh any more.", "Look again");
      return stop();
    }
    if (busy()) {
      tell("There is something new.", "Show it");
      return later(2000);
    }
    try {
      const response = await fetch(location.pathname + location.search, { credentials: "same-origin", redirect: "error", cache: "no-store" });
      if (response.status === 401) return signedOut();
      if (!response.ok) return tell("There is something new.", "Show it");
      const next = new DOMParser().parseFromString(await response.text(), "text/html");
      if (busy()) return later(2000);
      if (document.querySelector("main form[data-ceremony]") || next.querySelector("main form[data-ceremony]")) {
        return tell("There is something new.", "Show it"); // hourkey.js knows the forms that were there when it began
      }
      replace(next);
    } catch {
      tell("The broker cannot be reached.", "Try again");
    }
  }

  function replace(next) {
    page.now = next.body.dataset.now || "";
    for (const part of ["main", "[data-notices]", ".nav"]) {
      const [now, then] = [document.querySelector(part), next.querySelector(part)];
      if (now && then && now.innerHTML !== then.innerHTML) now.replaceChildren(...then.childNodes);
    }
    bar.replaceChildren();
    countDown();
  }

  function later(ms) {
    if (due === null) due = setTimeout(refresh, ms);
  }

  /* The stream */

  function signedOut() { // nothing of the page stays on the screen
    over = true;
    stop();
    location.replace(location.pathname + location.search);
  }

  function stop() {
    if (stream) stream.close();
    stream = null;
  }

  const source = () => `/live?from=${encodeURIComponent(from)}&of=${encodeURIComponent(page.subject)}`;

  // refused finds out why: a stream does not tell. Too many are open, or the broker is gone, or the session is.
  async function refused() {
    stop();
    const asking = new AbortController();
    try {
      const { status } = await fetch(source(), { credentials: "same-origin", cache: "no-store", signal: asking.signal });
      asking.abort();
      if (status === 401) return signedOut();
    } catch {
      // it cannot be reached now
    }
    setTimeout(follow, 30000);
  }

  function follow() {
    if (stream || over || document.hidden) return;
    stream = new EventSource(source());
    stream.addEventListener("changed", (event) => {
      from = event.lastEventId || from;
      for (const change of event.data.split("\n")) heard(...change.split(" "));
    });
    stream.addEventListener("at", (event) => { from = event.lastEventId || from; });
    stream.addEventListener("over", signedOut);
    stream.addEventListener("error", () => {
      if (stream && stream.readyState === EventSource.CLOSED) refused();
    });
  }

  const kinds = page.live.split(" ");
  function heard(kind, subject) { // "much": more than the broker remembers
    if (kind !== "much" && !kinds.includes(kind)) return;
    if (!page.subject) later(300);
    else if (kind === "much" || subject === page.subject) isOld();
  }

  for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "scroll"]) {
    addEventListener(kind, () => { touched = Date.now(); }, { passive: true, capture: true });
  }
  addEventListener("pointerdown", () => { pressed = true; }, { passive: true, capture: true });
  for (const kind of ["pointerup", "pointercancel", "blur"]) {
    addEventListener(kind, () => { pressed = false; }, { passive: true, capture: true });
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : follow())); // a browser has few connections to one host
  addEventListener("pagehide", stop);
  addEventListener("pageshow", follow);
  follow();
})();
