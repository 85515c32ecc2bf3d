// Results that renew themselves: `<… data-live="stream" data-view="address of this view" data-position="n">` on a page.
//
// The server says when there is more to see (app/http/dashboard/live.py); the page is fetched again, and only what
// differs is changed: focus, selection, open details and what was typed stay. A tab in the background has no stream.
import { Idiomorph } from "idiomorph/dist/idiomorph.esm.js";

import { problemIn, problemOf } from "./refusals.js";
import { momentOf } from "./slider.js";

const PAUSE_MS = 1000;
// A page that takes long is asked for less often.
const PAUSE_SHARE = 9;
const AGAIN_MS = 10_000;
const AGAIN_MS_MAX = 300_000;
// A stream says something every five seconds, and a browser comes back to one that has ended after five.
const LOST_MS = 15_000;
const ANSWER_MS_MAX = 10_000;

const isTouched = (form) => form.contains(form.ownerDocument.activeElement) || [...form.elements].some((field) =>
  field.options
    ? [...field.options].some((option) => option.selected !== option.defaultSelected)
    : "defaultValue" in field && field.type !== "hidden" && field.value !== field.defaultValue);

const stays = (old) => {
  if (old.nodeType === Node.TEXT_NODE) {
    const selection = getSelection();
    return !selection.isCollapsed && selection.containsNode(old, true);
  }
  return old.tagName === "FORM" && isTouched(old);
};

// What the browser or this script has changed of itself.
const isOurs = (name, node) =>
  (name === "open" && node.tagName === "DETAILS") || (name === "hidden" && "copy" in node.dataset);

const MORPH = {
  morphStyle: "innerHTML",
  callbacks: {
    beforeNodeMorphed: (old) => !stays(old),
    beforeAttributeUpdated: (name, node) => !isOurs(name, node),
    beforeNodeRemoved: (old) => !("lent" in (old.dataset ?? {})),
  },
};

export const keepLive = (document, htmx) => {
  let stream = null;
  let place = null;
  let again = 0;
  let wait = AGAIN_MS;
  let isOver = false;
  let isFetching = false;
  let isBehind = false;
  let isRefused = false;
  let heardAt = Date.now();
  let silence = 0;

  const shown = () => document.querySelector("[data-live]");

  const close = () => {
    clearTimeout(again);
    clearTimeout(silence);
    stream?.close();
    stream = null;
  };

  const say = (words) => {
    const lag = document.getElementById("lag");
    if (lag && lag.textContent !== words) lag.textContent = words;
  };

  const end = (words) => {
    isOver = true;
    close();
    say(words);
  };

  // Whether the browser knows that the stream is lost, or waits for one that a network has swallowed.
  const lose = () => {
    say(`Nothing was heard from the server since ${momentOf(heardAt / 1000)}: these numbers are those of then.`);
    if (stream.readyState !== EventSource.CLOSED) open();
  };

  const hear = () => {
    heardAt = Date.now();
    clearTimeout(silence);
    silence = setTimeout(lose, LOST_MS);
  };

  // A browser does not say why a stream was refused: a session that is over, or a link, does not come back.
  const askWhy = async (address) => {
    try {
      const answer = await fetch(address, {
        headers: { "HX-Request": "true" },
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      });
      if (answer.ok) {
        await answer.body.cancel();
        return null;
      }
      const problem = problemIn(answer.status, await answer.text());
      return [401, 403, 404].includes(problem.status) ? problem.detail : null;
    } catch (error) {
      return null;
    }
  };

  const renew = async () => {
    if (isFetching) {
      isBehind = true;
      return;
    }
    isFetching = true;
    isBehind = false;
    const began = performance.now();
    try {
      const { live, view } = shown().dataset;
      const answer = await fetch(view, { headers: { "HX-Request": "true" } });
      const text = await answer.text();
      if (!answer.ok) throw problemIn(answer.status, text);
      isRefused = false;
      // Somebody may have gone to a past moment, or logged out, meanwhile.
      if (!answer.redirected && shown()?.dataset.live === live && shown().dataset.view === view) {
        const main = new DOMParser().parseFromString(text, "text/html").getElementById("main");
        Idiomorph.morph(document.getElementById("main"), main.innerHTML, MORPH);
        htmx.process(document.getElementById("main"));
      }
    } catch (thrown) {
      isBehind = isRefused = true;
      say(`Newer numbers could not be fetched: ${problemOf(thrown).detail}.`);
    }
    const pause = Math.max(PAUSE_MS, PAUSE_SHARE * (performance.now() - began));
    setTimeout(() => {
      isFetching = false;
      if (isBehind && stream) renew();
    }, pause);
  };

  const open = () => {
    close();
    place = shown();
    if (!place || document.hidden || isOver) return;
    const opened = new EventSource(`${place.dataset.live}?after=${place.dataset.position}`);
    stream = opened;
    silence = setTimeout(lose, LOST_MS);
    opened.addEventListener("moved", () => {
      hear();
      renew();
    });
    opened.addEventListener("lag", ({ data }) => {
      hear();
      if (!isRefused) say(data);
    });
    opened.addEventListener("open", () => { wait = AGAIN_MS; });
    opened.addEventListener("over", ({ data }) => end(data));
    opened.addEventListener("error", async () => {
      // A stream that was refused is not tried again by the browser itself.
      if (opened !== stream || opened.readyState !== EventSource.CLOSED) return;
      const why = await askWhy(opened.url);
      if (opened !== stream) return;
      if (why) return end(`These numbers stand still: ${why}.`);
      again = setTimeout(open, wait);
      wait = Math.min(2 * wait, AGAIN_MS_MAX);
    });
  };

  document.addEventListener("visibilitychange", open);
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  document.addEventListener("htmx:afterSettle", () => {
    if (shown() === place) return;
    heardAt = Date.now();
    open();
  });
};
