// prooflog in the browser: experiments before the first paint, events that arrive.
//
// Bundled by esbuild (make script) into ../built: what the server sends.
//
// window.grademypage
//   track(eventType, {eventName?, eventData?})   any event
//   trackConversion(name)                        exactly track("conversion", {eventName: name})
//   getExperimentAssignments()                   [{experimentId, variantId, variantName}]
//   optOut()                                     forget this visitor, and count nothing from now on
//   optIn()                                      count from now on; what data-consent on the script's tag waits for
//
// getExperimentAssignments() answers at once with the running experiments that this visitor has met: those whose
// page was seen, in this view or before it, on every page of the site (a checkout is often another page than the
// one under test). Empty for a visitor outside the traffic, a preview, a bot, and under a privacy signal.
//
// A page that loads the script later may call it before (the snippet for async does it for all of the above):
//   window.grademypage = window.grademypage || {q: []};
//   grademypage.q.push(["trackConversion", "signup"]);
//
// Kept in the browser: gmp_vid (cookie and localStorage), gmp_sid and gmp_force (sessionStorage),
// gmp_asg, gmp_ts, gmp_consent, gmp_hide and gmp_out:* (localStorage).
import { LOCAL, doc, on, safe, win, write } from "./browser.js";
import { config } from "./config.js";
import { adopt, apiUrl, armIfAny, drop, emit } from "./delivery.js";
import { assigned, decide, readAssignments } from "./experiments.js";
import { goLive, isLive } from "./page.js";
import { beginView, follow, watch } from "./views.js";
import { consentTo, counted, forced, isPreview, remember, visitorId } from "./visitor.js";

// Calls made before the page counts: before this script came, before consent, or while the page is rendered ahead.
const early = [];
const EARLY_MAX = 100;

const api = {
  ready: true,
  q: { push: (...calls) => calls.forEach(replay) },
  track: safe((eventType, options) => {
    if (!isLive) return void (early.length < EARLY_MAX && early.push(["track", eventType, options]));
    if (!eventType?.trim?.()) return;
    follow();
    const name = options?.eventName;
    const data = safe(() => JSON.stringify(options.eventData))();
    emit(eventType, {
      eventName: name == null ? undefined : String(name),
      eventData: data?.[0] === "{" ? JSON.parse(data) : undefined,
    }, eventType === "conversion");
  }),
  trackConversion: (name) => api.track("conversion", { eventName: name }),
  getExperimentAssignments: () => (WITH_EXPERIMENTS && counted ? assigned() : []),
  optOut: safe(() => {
    early.splice(0);
    consentTo(false);
    drop();
  }),
  optIn: safe(() => {
    if (counted) return;
    consentTo(true);
    begin();
  }),
};

const replay = safe(([method, ...args]) => api[method](...args));

const start = safe(() => {
  if (!isLive) watch();
  goLive();
  remember();
  if (counted) {
    // Who opts in after opting out is somebody new.
    if (WITH_EXPERIMENTS) readAssignments(new Map());
    adopt();
  }
  beginView(doc.referrer);
  armIfAny();
  early.splice(0).forEach(replay);
});

const install = () => {
  const queue = stub?.q;
  // The very object that was there: pages keep it in a variable of their own.
  win.grademypage = Object.assign(stub || {}, api);
  // As an import, which a page's Trusted Types let pass.
  if (isPreview) return void import(`${apiUrl}script.js?projectId=${config.projectId}&preview=1`);
  const isBeginning = counted || forced;
  safe(() => queue.forEach(replay))();
  // Where consent stood in the queue, it has begun already.
  if (isBeginning) begin();
};

const begin = () => {
  if (!counted && !forced) return;
  if (counted && stub?.reveal) write(LOCAL, "gmp_hide", JSON.stringify(config.experiments));
  if (!doc.prerendering) return void start();
  // A page that is rendered ahead shows its variant to a visitor who is known, and counts on activation only.
  on(doc, "prerenderingchange", start, { once: true });
  if (WITH_EXPERIMENTS && visitorId) safe(() => (readAssignments(), decide()))();
};

const stub = win.grademypage;
// A second copy of the script on one page stays silent.
if (!stub?.ready) install();
safe(() => stub.reveal())();
