// The preview beside the form of an experiment: the target page in a frame or a window, with what the form holds.
//
// The other end is ../source/preview.js, where the messages are described. The form goes to the server first, which
// checks and sanitises it: a page is shown what would be stored, and nothing else.
import { matchesUrl } from "../source/assignment.js";
import { problemIn, problemOf, wordsOf } from "./refusals.js";
import { renewTokens } from "./session.js";

const QUIET_MS = 300;
const ANSWER_MS_MAX = 4000;
const SANDBOX = "allow-scripts allow-same-origin allow-forms";

const elementsInWords = (count) => (count === 1 ? "Finds 1 element." : `Finds ${count} elements.`);

export const lookAtPages = (document) => {
  const look = document.getElementById("look");
  if (!look) return;
  const at = (id) => document.getElementById(id);
  // The form is replaced whenever a row is added or removed.
  const form = () => at("experiment-form");
  const field = (name) => form().elements[name]?.value ?? "";
  const says = (text) => { at("look-says").textContent = text; };
  const server = look.dataset.server;

  // What is looked at: {window, origin, isReady, timer}.
  let shown = null;
  // What the server made of the form: its variants with their changes, and what is wrong, by path.
  let held = { variants: [], errors: [] };
  let questions = 0;
  let number = 0;
  let sent = [];
  let isChosen = false;

  const tell = (path, text, isWrong) => {
    const place = document.querySelector(`[data-found="${path}"]`);
    if (!place) return;
    if (place.textContent !== text) place.textContent = text;
    place.classList.toggle("wrong", isWrong);
  };

  // What stands beside a field since it was saved is not said once more.
  const isSaid = (path) => at(`${path.replace(/[^A-Za-z0-9]+/g, "-")}-error`);

  const tellErrors = () => {
    for (const place of document.querySelectorAll("[data-found]")) {
      const path = place.dataset.found;
      const own = held.errors.filter((error) => error.path.startsWith(path + ".") && !isSaid(error.path));
      const words = own.map(({ path: where, reason }) => `${where.slice(path.length + 1)} ${reason}`).join("; ");
      tell(path, words && words[0].toUpperCase() + words.slice(1) + ".", own.length > 0);
    }
  };

  const offerVariants = () => {
    const select = at("look-variant");
    // Until somebody chooses, the first that changes something is what people want to see.
    const first = held.variants.findIndex(({ changes }) => changes.length);
    const chosen = isChosen ? select.selectedIndex : Math.max(first, 0);
    select.replaceChildren(...held.variants.map(({ name }, i) => new Option(name || `Variant ${i + 1}`)));
    select.selectedIndex = Math.min(chosen, held.variants.length - 1);
  };

  const show = () => {
    tellErrors();
    if (!shown?.isReady) return;
    sent = held.variants[at("look-variant").selectedIndex]?.changes ?? [];
    number += 1;
    shown.window.postMessage({ gmp: "show", number, changes: sent.map(({ change }) => change) }, shown.origin);
  };

  const ask = async () => {
    const send = () => fetch(form().dataset.look, {
      method: "POST",
      headers: { "HX-Request": "true" },
      body: new URLSearchParams(new FormData(form())),
    });
    questions += 1;
    const question = questions;
    try {
      let answer = await send();
      if (answer.status === 403) { // perhaps only since somebody logged in again
        await renewTokens(document);
        answer = await send();
      }
      if (!answer.ok) throw problemIn(answer.status, await answer.text());
      const told = await answer.json();
      // An answer that a later question has overtaken is of a form that is no more.
      if (question !== questions) return;
      held = told;
    } catch (thrown) {
      if (question !== questions) return;
      return says(wordsOf(problemOf(thrown)).textContent);
    }
    offerVariants();
    show();
  };

  let quiet = 0;
  const askSoon = () => {
    clearTimeout(quiet);
    quiet = setTimeout(ask, QUIET_MS);
  };

  const wholeAddress = () => {
    try {
      const url = new URL(at("look-address").value.trim());
      return /^https?:$/.test(url.protocol) ? url : null;
    } catch (error) {
      return null;
    }
  };

  const open = (isFrame) => {
    const url = wholeAddress();
    if (!url) return says("Type the whole address of the page to look at, such as https://shop.example/.");
    if (server !== location.origin) {
      return says(`The script of your pages talks to ${server} alone: open the dashboard there to look at them.`);
    }
    if (isFrame && location.protocol === "https:" && url.protocol === "http:") {
      return says("A page without https cannot be shown inside one with it: show it in a window.");
    }
    // As it was typed: to build the query anew would encode the rest of it in another way.
    const [before, hash] = url.href.split(/(?=#)/);
    const address = `${before}${before.includes("?") ? "&" : "?"}gmp_preview=1${hash || ""}`;
    clearTimeout(shown?.timer);
    tellErrors();
    let target;
    if (isFrame) {
      const frame = document.createElement("iframe");
      frame.title = "The page, with what the form holds";
      frame.setAttribute("sandbox", SANDBOX);
      frame.src = address;
      look.querySelector(".frame").replaceChildren(frame);
      target = frame.contentWindow;
    } else {
      target = window.open(address, "prooflog-preview");
      if (!target) return says("The browser held the window back: allow this page to open one.");
    }
    shown = { window: target, origin: url.origin, isReady: false, isFrame };
    shown.timer = setTimeout(noAnswer, ANSWER_MS_MAX);
    says("Waiting for the page …");
    if (!held.variants.length) ask();
  };

  const noAnswer = () => {
    if (shown.window.closed) return says("The window was closed.");
    says(shown.isFrame
      ? "The page does not answer here. Many sites forbid being shown inside another page, and a page without the"
        + " script of this project cannot answer: show it in a window, which tells the two apart."
      : `The page does not answer. Either it has no script from ${server} on it, or its policy`
        + " (Cross-Origin-Opener-Policy) cuts it off from this window.");
  };

  const place = (address) => {
    const type = field("urlMatchType");
    const target = field("targetUrl").trim();
    const is = { exact: "is", contains: "contains", starts_with: "starts with" }[type];
    if ((!target && type !== "all") || matchesUrl(type, target, new URL(address))) return `Shows ${address}.`;
    return `Shows ${address}, where the experiment will not run: it runs where the address ${is} “${target}”.`;
  };

  window.addEventListener("message", ({ source, origin, data }) => {
    if (!shown || source !== shown.window || !data?.gmp) return;
    if (origin !== shown.origin) return says(`The page went on to ${origin}: type that address to look at it there.`);
    if (data.gmp === "ready") {
      clearTimeout(shown.timer);
      shown.isReady = true;
      says(place(data.address));
      if (held.variants.length) show();
      else ask();
    }
    if (data.gmp === "shown" && data.number === number) {
      says(place(data.address));
      sent.forEach(({ path }, i) => {
        const { isValid, elements } = data.found[i];
        if (!isValid) tell(path, "This browser does not understand the selector.", true);
        else tell(path, elements ? elementsInWords(elements) : "Finds nothing on this page.", !elements);
      });
    }
  });

  at("look-here").addEventListener("click", () => open(true));
  at("look-window").addEventListener("click", () => open(false));
  at("look-variant").addEventListener("change", () => {
    isChosen = true;
    show();
  });
  document.addEventListener("input", ({ target }) => { if (target.form === form()) askSoon(); });
  document.addEventListener("htmx:afterSettle", askSoon);
  look.querySelector(".works").hidden = false;
  ask();
};
