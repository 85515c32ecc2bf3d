// A page as a form of the dashboard wants it: shows the changes that the form holds, and says what each one finds.
//
// The dashboard opens the page with ?gmp_preview=1 in a frame or a window of its own; index.js then does nothing else
// and loads this. Messages go to that window, and only while it shows the server that this script came from:
//   {gmp: "ready", address}                                  to the dashboard, when the page is parsed
//   {gmp: "show", number, changes}                           from the dashboard, which has sanitised them
//   {gmp: "shown", number, address, found: [{isValid, elements}]}   back, and again whenever what is found changes
import { URL, doc, on, safe, win } from "./browser.js";
import { show } from "./changes.js";
import { config } from "./config.js";

const LOOK_AGAIN_MS = 500;

const dashboard = win.parent === win ? win.opener : win.parent;
const dashboardOrigin = new URL(config.baseUrl).origin;
const tell = (message) => dashboard.postMessage(message, dashboardOrigin);

// The address as visitors have it; a search that is built anew would encode the rest of it in another way.
const address = () => location.href.replace(/([?&])gmp_preview=[^&#]*(&?)/, (_, before, after) => (after ? before : ""));

const count = (changes) => changes.map(({ selector }) => {
  try {
    return { isValid: true, elements: doc.querySelectorAll(selector).length };
  } catch (error) {
    return { isValid: false, elements: 0 };
  }
});

let asked = null;
let told = "";

const answer = () => {
  if (!asked) return;
  // A change may hide from its own selector what it found, so what was there before it counts too.
  const now = count(asked.changes);
  const found = now.map((after, i) => (after.elements < asked.before[i].elements ? asked.before[i] : after));
  const message = { gmp: "shown", number: asked.number, address: address(), found };
  const text = JSON.stringify(message);
  if (text !== told) tell(message);
  told = text;
};

on(win, "message", ({ source, origin, data }) => {
  if (source !== dashboard || origin !== dashboardOrigin || data?.gmp !== "show") return;
  const changes = [...data.changes];
  show([]);
  asked = { number: data.number, changes, before: count(changes) };
  show(changes);
  answer();
});

// A link leads to another page that is looked at, not to one that counts its visitor.
on(doc, "click", ({ target }) => {
  const link = target.closest?.("a[href]");
  if (link?.origin !== location.origin) return;
  const url = new URL(link.href);
  url.searchParams.set("gmp_preview", "1");
  link.href = url.href;
}, true);

const begin = safe(() => {
  tell({ gmp: "ready", address: address() });
  setInterval(safe(answer), LOOK_AGAIN_MS);
});
if (doc.readyState === "loading") on(doc, "DOMContentLoaded", begin);
else begin();
