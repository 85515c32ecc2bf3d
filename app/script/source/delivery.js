// Delivery: an event leaves the outbox when the server has answered, and not before.
import { LOCAL, nav, eachKey, parse, read, remove, safe, soon, uuid, write } from "./browser.js";
import { config } from "./config.js";
import { hear } from "./experiments.js";
import { isLeaving, isLive, view } from "./page.js";
import { consentTo, counted, sessionId, timestamp, visitorId } from "./visitor.js";

const EVENTS_PER_BODY = 50;
// Bodies that outlive their page share 64 KiB in a browser.
const BODY_BYTES = 60e3;
const OUTBOX_EVENTS = 500;
const OUTBOX_CHARS = 250e3;
const ORDINARY_DELAY_MS = 1000;
const BACKOFF_MS = 500;
const BACKOFF_MS_MAX = 300e3;
export const ANSWER_MS_MAX = 30e3;

export const apiUrl = config.baseUrl + "/api/analytics/";
const trackUrl = apiUrl + "track";
const outboxPrefix = `gmp_out:${config.projectId}:`;
const outboxKey = outboxPrefix + uuid();
const bytes = (text) => new Blob([text]).size;
const inFlight = new Set();
// Events as JSON text, oldest first; texts differ because timestamps do.
let outbox = [];
// What waits for the next body, in characters; events beyond their number fill it too.
let filled = 0;
let keepaliveBytes = 0;
let timer = 0;
let failures = 0;
let retryAt = 0;
let serverSaidWhen = false;

const persist = () => {
  let chars = outbox.join().length;
  while (outbox.length > OUTBOX_EVENTS || chars > OUTBOX_CHARS) chars -= outbox.shift().length + 1;
  if (outbox.length) write(LOCAL, outboxKey, outbox.join("\n"));
  else remove(outboxKey);
};

// What earlier pages could not deliver. An open tab may lose its copy to this one and still sends from memory:
// the server counts an event that comes twice once.
export const adopt = () => {
  eachKey(outboxPrefix, (key) => {
    const left = (read(LOCAL, key) || "").split("\n");
    outbox.push(...left.filter((event) => parse(event) && !outbox.includes(event)));
    // First, as a storage that is full has no room for two copies.
    remove(key);
    persist();
  });
};

// Our own back-off gives way when the page ends or the network is back; what the server asked for does not.
export const hurry = () => {
  if (!serverSaidWhen) retryAt = 0;
  flush();
};

const arm = (delay) => { timer ||= setTimeout(safe(flush), delay); };

const nextBatch = () => {
  const batch = [];
  let size = 100;
  for (const event of outbox) {
    if (inFlight.has(event)) continue;
    size += bytes(event) + 1;
    if (batch.length === EVENTS_PER_BODY || size > BODY_BYTES) break;
    batch.push(event);
  }
  return batch;
};

// The visitor may have said no in another tab, or while the browser kept this page.
const isCounted = () => {
  if (counted && read(LOCAL, "gmp_consent") === "no") {
    consentTo(false);
    drop();
  }
  return counted;
};

const flush = () => {
  clearTimeout(timer);
  timer = filled = 0;
  if (!isCounted()) return;
  const wait = retryAt - Date.now();
  if (wait > 0) return arm(wait);
  for (let batch = nextBatch(); batch.length; batch = nextBatch()) send(batch);
};

const send = async (batch) => {
  const body = `{"projectId":${JSON.stringify(config.projectId)},"events":[${batch}]}`;
  const size = bytes(body);
  const keepalive = keepaliveBytes + size <= BODY_BYTES;
  if (keepalive) keepaliveBytes += size;
  batch.forEach((event) => inFlight.add(event));
  let status = 0;
  let retryAfter;
  try {
    // A string goes as text/plain, which needs no preflight.
    const answer = await fetch(trackUrl, {
      method: "POST",
      body,
      keepalive,
      signal: AbortSignal.timeout?.(ANSWER_MS_MAX),
    });
    status = answer.status;
    retryAfter = answer.headers.get("Retry-After");
    if (WITH_EXPERIMENTS) hear(answer);
  } catch (error) {
    // A beacon tells nothing about its arrival: the events stay, and are sent again from the next page.
    if (isLeaving) safe(() => nav.sendBeacon(trackUrl, body))();
  }
  if (keepalive) keepaliveBytes -= size;
  batch.forEach((event) => inFlight.delete(event));
  settle(batch, status, retryAfter);
};

const settle = safe((batch, status, retryAfter) => {
  if (status && status < 500 && status !== 408 && status !== 429) {
    outbox = outbox.filter((event) => !batch.includes(event));
    persist();
    if (failures) {
      failures = retryAt = 0;
      flush();
    }
    return;
  }
  const now = Date.now();
  if (now < retryAt && !retryAfter) return;
  // Seconds, as our server says; a date, which others may put there, is as good as nothing said.
  const asked = retryAfter * 1000;
  serverSaidWhen = asked > 0;
  // Spread over as much again: many visitors were told the same moment.
  retryAt = now + Math.min(serverSaidWhen ? asked : BACKOFF_MS * 2 ** failures++, BACKOFF_MS_MAX) * (1 + Math.random());
  arm(retryAt - now);
});

export const emit = (eventType, details, isUrgent) => {
  if (!isLive || !isCounted()) return;
  const at = timestamp();
  const text = JSON.stringify({
    eventType,
    ...details,
    pathname: view.pathname,
    fullUrl: view.fullUrl,
    sessionId: sessionId(at),
    visitorId,
    timestamp: at,
  });
  if (bytes(text) > BODY_BYTES - 200) return;
  const size = text.length + BODY_BYTES / EVENTS_PER_BODY;
  // A full body does not wait: a burst would push its own beginning out of the outbox.
  if (filled + size > BODY_BYTES) flush();
  filled += size;
  outbox.push(text);
  persist();
  if (isLeaving) flush();
  else if (isUrgent) soon(flush);
  else arm(ORDINARY_DELAY_MS);
};

export const drop = () => {
  outbox = [];
  persist();
};

// What earlier pages left waits for the ordinary delay, beside what this one adds.
export const armIfAny = () => { if (outbox.length) arm(ORDINARY_DELAY_MS); };
