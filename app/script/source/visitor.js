// Who: privacy, bots, previews, visitor, session and time.
import { COOKIE_SECONDS, LOCAL, SESSION, doc, eachKey, nav, parse, read, remove, safe, setCookie, uuid, win, write } from "./browser.js";
import { byId, config } from "./config.js";

const isPrivate = nav.globalPrivacyControl || nav.doNotTrack === "1";
// A module does not know its own tag: any that asks for consent will do.
const tag = doc.currentScript || doc.querySelector("script[data-consent]");
// "yes" or "no" once the visitor has said so; where the script's tag has data-consent, silence is a no.
const consent = read(LOCAL, "gmp_consent");
const isRefused = consent === "no" || (consent !== "yes" && tag?.dataset.consent != null);
const isBot = !config.countBots
  && (nav.webdriver || /bot\b|crawl|spider|headless|lighthouse/i.test(nav.userAgent));

// ?gmp_force=EXPERIMENT:VARIANT[,...] lasts for the tab's session, ?gmp_force=off shows the page without
// experiments, ?gmp_force= ends the preview. Only ids of the configuration count; nothing else is kept.
export const forced = (() => {
  const asked = safe(() => new URLSearchParams(location.search).get("gmp_force"))();
  const mayKeep = !isPrivate && !isRefused;
  const kept = asked == null && mayKeep && read(SESSION, "gmp_force");
  const value = asked || kept || "";
  const chosen = new Map();
  for (const pair of value.split(",")) {
    const [experimentId, variantId] = pair.split(":");
    const variant = byId(byId(config.experiments, experimentId)?.variants, variantId);
    if (variant) chosen.set(experimentId, variant);
  }
  // A preview stays one, also when its experiment was stopped meanwhile.
  const preview = kept || value === "off" || chosen.size ? chosen : null;
  // What is asked of another project's script on this page is for that one to keep.
  if (mayKeep && (preview || asked === "")) write(SESSION, "gmp_force", value);
  return preview;
})();

// A form of the dashboard looks at this page: preview.js shows what the form holds, and nothing else happens.
export const isPreview = /[?&]gmp_preview=/.test(location.search) && (win.opener || win.parent !== win);

const isCountable = !isPrivate && !isBot && !forced && !isPreview;
export let counted = isCountable && !isRefused;

export let visitorId = / gmp_vid=([\w.-]{1,64})(?:;|$)/
  .exec(` ${safe(() => doc.cookie)()}; gmp_vid=${read(LOCAL, "gmp_vid") || ""}`)?.[1];

const forget = () => {
  visitorId = "";
  setCookie("", 0);
  [LOCAL, SESSION].forEach((area) => eachKey("gmp_", remove, area));
};
if (isPrivate) forget();

// The visitor's word, which is all that is kept of one who says no.
export const consentTo = (isGiven) => {
  counted = isCountable && isGiven;
  if (!isGiven) forget();
  if (!isPrivate) write(LOCAL, "gmp_consent", isGiven ? "yes" : "no");
};

const SESSION_IDLE_MS = 30 * 60e3;
let session = {};
export const sessionId = (now) => {
  const stored = parse(read(SESSION, "gmp_sid")) || session;
  session = { id: now - stored.at < SESSION_IDLE_MS ? stored.id : uuid(), at: now };
  write(SESSION, "gmp_sid", JSON.stringify(session));
  return session.id;
};

// The server takes two events of one visitor, type and path in the same millisecond for one, so each gets its own.
// Tabs see late what others have written: each has one millisecond in 16 for itself, and takes another one when it
// meets its own in what another tab wrote. A mark far ahead is left by a clock that was wrong: it is not followed.
const CLOCK_AHEAD_MS = 60e3;
const SLOTS = 16;
let slot = (Math.random() * SLOTS) | 0;
let lastTimestamp = 0;
export const timestamp = () => {
  const now = Date.now();
  const told = +read(LOCAL, "gmp_ts") || 0;
  if (told !== lastTimestamp) while (told % SLOTS === slot) slot = (Math.random() * SLOTS) | 0;
  const last = Math.max(lastTimestamp, told);
  // Where it was our own burst, its milliseconds are taken: those beside them are not.
  let latest = Math.max(now, last + SLOTS);
  if (last - now > CLOCK_AHEAD_MS) {
    latest = now;
    slot = (slot + 1) % SLOTS;
  }
  lastTimestamp = latest - ((latest - slot) % SLOTS);
  write(LOCAL, "gmp_ts", lastTimestamp);
  return lastTimestamp;
};

// From here on the visitor exists, and is known on the next page too.
export const remember = () => {
  visitorId ||= uuid();
  if (!counted) return;
  setCookie(visitorId, COOKIE_SECONDS);
  write(LOCAL, "gmp_vid", visitorId);
};
