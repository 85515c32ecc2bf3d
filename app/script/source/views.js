// Page views: addresses, scrolling, time in view, and the ways in which a page ends.
import { doc, on, soon, win } from "./browser.js";
import { emit, hurry } from "./delivery.js";
import { decide, keepFresh, refresh } from "./experiments.js";
import { setLeaving, setView, view } from "./page.js";

const SCROLL_STEP = 25;
let visibleSince = 0;

// A fragment is a place on the page, unless it is a route such as #/cart.
const viewKey = () => location.pathname + location.search + (/^#[!/]/.test(location.hash) ? location.hash : "");

const utmOf = (search) => {
  const parameters = new URLSearchParams(search);
  const found = ["source", "medium", "campaign", "term", "content"]
    .map((name) => [name, parameters.get("utm_" + name)])
    .filter(([, value]) => value);
  return found[0] && Object.fromEntries(found);
};

export const beginView = (referrer) => {
  setView({ key: viewKey(), pathname: location.pathname, fullUrl: location.href, scrolled_: 0, told_: new Set() });
  visibleSince = doc.hidden ? 0 : performance.now();
  emit("pageview", { referrer: referrer || undefined, utm: utmOf(location.search) });
  if (WITH_EXPERIMENTS) decide();
};

// Seconds in view since the last report, so that reports add up.
const reportEngagement = () => {
  const seconds = visibleSince && Math.round(performance.now() - visibleSince) / 1000;
  visibleSince = 0;
  if (seconds) emit("engagement", { eventData: { engagementSeconds: seconds } });
};

export const follow = () => {
  if (viewKey() === view.key) view.fullUrl = location.href;
  else {
    reportEngagement();
    beginView(view.fullUrl);
  }
};

const measureScroll = () => {
  if (win.scrollY <= 0) return;
  const depth = ((win.scrollY + win.innerHeight + 1) / doc.documentElement.scrollHeight) * 100;
  while (view.scrolled_ < 100 && depth >= view.scrolled_ + SCROLL_STEP) {
    emit("scroll", { eventData: { depth: view.scrolled_ += SCROLL_STEP } });
  }
};

const leave = () => {
  setLeaving(true);
  reportEngagement();
  hurry();
};

const comeBack = () => {
  setLeaving(false);
  visibleSince ||= performance.now();
  if (WITH_EXPERIMENTS) refresh();
};

export const watch = () => {
  for (const method of ["pushState", "replaceState"]) {
    const original = history[method];
    history[method] = function (...args) {
      const result = original.apply(this, args);
      // Routers push and replace in one go: what stands when they are done is the page.
      soon(follow);
      return result;
    };
  }
  on(win, "popstate", follow);
  on(win, "hashchange", follow);
  on(win, "scroll", measureScroll, { passive: true });
  on(win, "pagehide", leave);
  on(doc, "visibilitychange", () => (doc.hidden ? leave() : comeBack()));
  on(win, "pageshow", (event) => {
    if (!event.persisted) return;
    comeBack();
    beginView(doc.referrer);
  });
  on(win, "online", hurry);
  if (WITH_EXPERIMENTS) keepFresh();
};
