// prooflog in the browser: experiments before the first paint, events that arrive.
//
// The server replaces __GMP_CONFIG__ by {projectId, baseUrl, countBots, experiments} and leaves out lines that
// are comments, so a comment stands on a line of its own and no string spans lines. ASCII only.
//
// window.grademypage
//   track(eventType, {eventName?, eventData?})   any event
//   trackConversion(name)                        exactly track("conversion", {eventName: name})
//   getExperimentAssignments()                   [{experimentId, experimentName, variantId, variantName}]
//
// getExperimentAssignments() answers at once with the running experiments that this visitor has met: those whose
// page was seen, in this view or before it, on every page of the site (a checkout is often another page than the
// one under test). Empty for a visitor outside the traffic, a preview, a bot, and under a privacy signal.
//
// A page that loads the script later may call it before:
//   window.grademypage = window.grademypage || {q: []};
//   grademypage.q.push(["trackConversion", "signup"]);
//
// Kept in the browser: gmp_vid (cookie and localStorage), gmp_sid and gmp_force (sessionStorage),
// gmp_asg, gmp_ts and gmp_out:* (localStorage).
(() => {
  "use strict";

  const config = __GMP_CONFIG__;

  // <pure> No browser state up to </pure>: tests run this part alone, beside domain/assignment.py.

  const fnv1a = (text) => {
    let hash = 0x811c9dc5;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    return hash >>> 0;
  };

  // GrowthBook's hash, version 2: one of 10,000 steps in [0, 1), independent between seeds.
  const hash = (seed, value) => (fnv1a(String(fnv1a(seed + value))) % 10000) / 10000;

  const bucketRanges = (coverage, weights) => {
    let start = 0;
    return weights.map((weight) => {
      const range = [start, start + coverage * weight];
      start += weight;
      return range;
    });
  };

  const choose = (n, ranges) => ranges.findIndex(([start, end]) => n >= start && n < end);

  // The index of a visitor's variant, -1 when the visitor takes no part.
  const assign = (experimentId, visitorId, weights, trafficPercentage) => {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const coverage = Math.min(Math.max(trafficPercentage / 100, 0), 1);
    const shares = weights.map((weight) => weight / total);
    return choose(hash(experimentId, visitorId), bucketRanges(coverage, shares));
  };

  // The same table as matches_url in domain/assignment.py; `url` is a location or a URL.
  const matchesUrl = (type, target, url) => {
    const isPath = target[0] === "/";
    if (type === "exact") return target === (isPath ? url.pathname : url.href);
    if (type === "contains") return url.href.includes(target);
    if (type === "starts_with") return (isPath ? url.pathname + url.search : url.href).startsWith(target);
    return type === "all";
  };

  // </pure>

  const win = window;
  const doc = document;
  const nav = navigator;
  const stub = win.grademypage;
  // A second copy of the script on one page stays silent.
  if (stub && stub.ready) return;

  const safe = (f) => function (...args) {
    try {
      return f.apply(this, args);
    } catch (error) {
      // A measuring script never breaks the page it measures.
    }
  };
  const soon = (f) => Promise.resolve().then(safe(f));
  const on = (target, type, f, options) => target.addEventListener(type, safe(f), options);

  // ---- Storage: every access may throw (blocked cookies, sandboxed frames, a full disk) ----

  const read = safe((area, key) => win[area].getItem(key));
  const write = safe((area, key, value) => (win[area].setItem(key, value), true));
  const parse = safe((text) => JSON.parse(text));
  const LOCAL = "localStorage";
  const SESSION = "sessionStorage";
  const remove = safe((key, area = LOCAL) => win[area].removeItem(key));
  const COOKIE_SECONDS = 400 * 86400;
  const setCookie = safe((value, seconds) => {
    const secure = location.protocol === "https:" ? ";Secure" : "";
    doc.cookie = `gmp_vid=${value};Max-Age=${seconds};Path=/;SameSite=Lax${secure}`;
  });
  const ourKeys = (prefix, area = LOCAL) => {
    const keys = safe(() => Object.keys(win[area]))() || [];
    return keys.filter((key) => key.startsWith(prefix));
  };

  // crypto.randomUUID exists on secure origins only.
  const uuid = () => {
    const b = crypto.getRandomValues(new Uint8Array(16));
    b[6] = (b[6] & 15) | 64;
    b[8] = (b[8] & 63) | 128;
    const hex = Array.from(b, (x) => (x + 256).toString(16).slice(1)).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  };

  // ---- Who: privacy, bots, previews, visitor and session ----

  const isPrivate = nav.globalPrivacyControl || nav.doNotTrack === "1" || win.doNotTrack === "1";
  const isBot = !config.countBots
    && (nav.webdriver || /bot\b|crawl|spider|slurp|headless|lighthouse|phantom/i.test(nav.userAgent));

  // ?gmp_force=EXPERIMENT:VARIANT[,...] lasts for the tab's session, ?gmp_force=off shows the page without
  // experiments, ?gmp_force= ends the preview. Only ids of the configuration count; nothing else is kept.
  const forced = (() => {
    const asked = safe(() => new URLSearchParams(location.search).get("gmp_force"))();
    const value = asked ?? (isPrivate ? "" : read(SESSION, "gmp_force")) ?? "";
    const chosen = new Map();
    for (const pair of value.split(",")) {
      const at = pair.indexOf(":");
      const experiment = config.experiments.find(({ id }) => id === pair.slice(0, at));
      const variant = experiment?.variants.find(({ id }) => id === pair.slice(at + 1));
      if (variant) chosen.set(experiment.id, variant);
    }
    const preview = value === "off" || chosen.size ? chosen : null;
    if (asked != null && !isPrivate) write(SESSION, "gmp_force", preview ? value : "");
    return preview;
  })();

  const counted = !isPrivate && !isBot && !forced;

  let visitorId = /(?:^|; )gmp_vid=([\w.-]{1,64})(?:;|$)/.exec(safe(() => doc.cookie)() || "")?.[1]
    || /^[\w.-]{1,64}$/.exec(read(LOCAL, "gmp_vid") || "")?.[0];
  const isKnown = !!visitorId;
  if (isPrivate) {
    visitorId = "";
    setCookie("", 0);
    [LOCAL, SESSION].forEach((area) => ourKeys("gmp_", area).forEach((key) => remove(key, area)));
  }

  const SESSION_IDLE_MS = 30 * 60e3;
  let session = {};
  const sessionId = (now) => {
    const stored = parse(read(SESSION, "gmp_sid")) || session;
    session = { id: now - stored.at < SESSION_IDLE_MS ? stored.id : uuid(), at: now };
    write(SESSION, "gmp_sid", JSON.stringify(session));
    return session.id;
  };

  // The server takes two events of one visitor, type and path in the same millisecond for one, so each gets its
  // own, across tabs too as soon as a tab sees what another has written. A mark far ahead is left by a clock that was wrong: it is not followed.
  const CLOCK_AHEAD_MS = 60e3;
  let lastTimestamp = 0;
  const timestamp = () => {
    const now = Date.now();
    const last = Math.max(lastTimestamp, Number(read(LOCAL, "gmp_ts")) || 0);
    lastTimestamp = last - now > CLOCK_AHEAD_MS ? now : Math.max(now, last + 1);
    write(LOCAL, "gmp_ts", lastTimestamp);
    return lastTimestamp;
  };

  // ---- Delivery: an event leaves the outbox when the server has answered, and not before ----

  const EVENTS_PER_BODY = 50;
  // Bodies that outlive their page share 64 KiB in a browser.
  const BODY_BYTES = 60e3;
  const OUTBOX_EVENTS = 500;
  const OUTBOX_CHARS = 65536;
  const ORDINARY_DELAY_MS = 1000;
  const BACKOFF_MS = 1000;
  const BACKOFF_MS_MAX = 300e3;
  const ANSWER_MS_MAX = 30e3;

  const origin = config.baseUrl || safe(() => new URL(doc.currentScript.src).origin)() || location.origin;
  const trackUrl = origin.replace(/\/+$/, "") + "/api/analytics/track";
  const outboxPrefix = `gmp_out:${config.projectId}:`;
  const outboxKey = outboxPrefix + uuid();
  const bytes = (text) => new Blob([text]).size;
  const inFlight = new Set();
  // Events as JSON text, oldest first; texts differ because timestamps do.
  let outbox = [];
  let keepaliveBytes = 0;
  let timer = 0;
  let failures = 0;
  let retryAt = 0;
  let serverSaidWhen = false;
  let isLeaving = false;

  const persist = () => {
    let chars = outbox.reduce((sum, event) => sum + event.length + 1, 1);
    while (outbox.length > OUTBOX_EVENTS || chars > OUTBOX_CHARS) chars -= outbox.shift().length + 1;
    if (outbox.length) write(LOCAL, outboxKey, outbox.join("\n"));
    else remove(outboxKey);
  };

  // What earlier pages could not deliver. An open tab may lose its copy to this one and still sends from memory:
  // the server counts an event that comes twice once.
  const adopt = () => {
    for (const key of ourKeys(outboxPrefix)) {
      const left = (read(LOCAL, key) || "").split("\n");
      outbox.push(...left.filter((event) => parse(event) && !outbox.includes(event)));
      persist();
      if (key !== outboxKey) remove(key);
    }
  };

  // Our own back-off gives way when the page ends or the network is back; what the server asked for does not.
  const hurry = () => {
    if (!serverSaidWhen) retryAt = 0;
    flush();
  };

  const arm = (delay) => {
    timer = timer || setTimeout(safe(() => { timer = 0; flush(); }), delay);
  };

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

  const flush = () => {
    clearTimeout(timer);
    timer = 0;
    const wait = retryAt - Date.now();
    if (wait > 0) return outbox.length && arm(wait);
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
        credentials: "omit",
        signal: AbortSignal.timeout?.(ANSWER_MS_MAX),
      });
      status = answer.status;
      retryAfter = answer.headers.get("Retry-After");
    } catch (error) {
      // A beacon tells nothing about its arrival: the events stay, and are sent again from the next page.
      if (isLeaving) safe(() => nav.sendBeacon(trackUrl, body))();
    }
    if (keepalive) keepaliveBytes -= size;
    batch.forEach((event) => inFlight.delete(event));
    settle(batch, status, retryAfter);
  };

  const settle = safe((batch, status, retryAfter) => {
    if (status >= 200 && status < 500 && status !== 429) {
      const done = new Set(batch);
      outbox = outbox.filter((event) => !done.has(event));
      persist();
      if (failures) {
        failures = retryAt = 0;
        flush();
      }
      return;
    }
    const now = Date.now();
    if (now < retryAt && !retryAfter) return;
    const asked = retryAfter ? (isNaN(retryAfter) ? Date.parse(retryAfter) - now : retryAfter * 1000) : NaN;
    serverSaidWhen = asked >= 0;
    const backoff = Math.min(BACKOFF_MS * 2 ** failures++, BACKOFF_MS_MAX) * (0.5 + Math.random() / 2);
    // Spread the visitors that were told the same moment.
    retryAt = now + (serverSaidWhen ? Math.min(asked, BACKOFF_MS_MAX) + Math.random() * BACKOFF_MS : backoff);
    arm(retryAt - now);
  });

  const emit = (eventType, details, isUrgent) => {
    if (!isLive || !counted) return;
    const at = timestamp();
    const event = {
      eventType,
      ...details,
      pathname: view.pathname,
      fullUrl: view.fullUrl,
      sessionId: sessionId(at),
      visitorId,
      timestamp: at,
    };
    const text = JSON.stringify(event);
    if (bytes(text) > BODY_BYTES - 200) return;
    outbox.push(text);
    persist();
    if (isLeaving) flush();
    else if (isUrgent) soon(flush);
    else arm(ORDINARY_DELAY_MS);
  };

  // ---- Changes ----
  //
  // `look` says what an element shows now, as a list; a change is in place while that is what it was right after
  // the change. Nodes that the change displaced are kept, so that leaving the page of an experiment in a
  // single-page application brings them back.

  const REAPPLIES_PER_SECOND = 10;
  // While the parser runs, elements arrive in many small steps; the bound only stops a loop.
  const PARSING_STEPS_PER_SECOND = 500;

  const policy = safe(() => win.trustedTypes.createPolicy("gmp", { createHTML: (html) => html }))();
  const words = (change) => change.value.split(/\s+/).filter(Boolean);
  const nodes = (element) => [...element.childNodes];
  const putNodes = (element, change, before) => element.replaceChildren(...before);

  const kinds = {
    text: {
      look: (element) => [element.textContent],
      save: nodes,
      apply: (element, change) => { element.textContent = change.value; },
      undo: putNodes,
    },
    html: {
      look: nodes,
      save: nodes,
      // The server has sanitised the value against its list; setHTML without a list of its own takes scripts and
      // handlers out once more.
      apply: (element, change) => {
        if (element.setHTML) element.setHTML(change.value, { sanitizer: {} });
        else element.innerHTML = policy ? policy.createHTML(change.value) : change.value;
      },
      undo: putNodes,
    },
    style: {
      look: ({ style }, { property }) => [style.getPropertyValue(property), style.getPropertyPriority(property)],
      apply: ({ style }, { property, value }) => {
        const plain = value.replace(/\s*!important\s*$/i, "");
        style.setProperty(property, plain, plain === value ? "" : "important");
      },
      undo: ({ style }, { property }, before) => style.setProperty(property, ...before),
    },
    class: {
      look: ({ classList }, change) => words(change).map((word) => classList.contains(word)),
      apply: ({ classList }, change) => classList.add(...words(change)),
      undo: ({ classList }, change, before) => words(change).forEach((word, i) => before[i] || classList.remove(word)),
    },
  };

  const isSame = (a, b) => a.length === b.length && a.every((item, i) => item === b[i]);
  const isParsing = (element) => {
    if (doc.readyState !== "loading") return false;
    while (element && !element.nextSibling) element = element.parentNode;
    return !element;
  };

  // Of two changes to one thing the later one in the configuration holds; they would take turns for ever.
  let owners = new WeakMap();
  const owns = (change, element) => {
    const thing = change.changeType === "style" ? "-" + change.property : /^(text|html)$/.test(change.changeType);
    if (!thing) return true;
    const owned = owners.get(element) || new Map();
    owners.set(element, owned);
    if (!(active.indexOf(owned.get(thing)) > active.indexOf(change))) owned.set(thing, change);
    return owned.get(thing) === change;
  };

  // One step of a change per sweep; false when this second's steps are used up.
  const mayStep = (change, isQuiet) => {
    const now = performance.now();
    if (!(now - change.since < 1000)) Object.assign(change, { since: now, steps: [0, 0] });
    const limit = isQuiet ? PARSING_STEPS_PER_SECOND : REAPPLIES_PER_SECOND;
    return change.steps[+isQuiet]++ < limit;
  };

  let active = [];
  let sweepTimer = 0;

  const applySheet = (change) => {
    if (!change.sheet) {
      change.sheet = new CSSStyleSheet();
      change.sheet.replaceSync(change.value.includes("{") ? change.value : `${change.selector}{${change.value}}`);
    }
    if (!doc.adoptedStyleSheets.includes(change.sheet)) {
      doc.adoptedStyleSheets = [...doc.adoptedStyleSheets, change.sheet];
    }
  };

  const applyChange = safe((change) => {
    if (change.changeType === "css") return applySheet(change);
    const kind = kinds[change.changeType];
    const allowed = [];
    for (const element of doc.querySelectorAll(change.selector)) {
      const was = change.seen.get(element);
      if (was && isSame(was.after, kind.look(element, change))) continue;
      if (!owns(change, element)) continue;
      const isQuiet = doc.readyState === "loading" && (!was || isParsing(element));
      if (!(allowed[+isQuiet] ??= mayStep(change, isQuiet))) {
        sweepTimer = sweepTimer || setTimeout(() => { sweepTimer = 0; sweep(); }, 1000);
        continue;
      }
      let before = was ? was.before : (kind.save || kind.look)(element, change);
      if (was && kind.save) {
        const ours = was.nodes.filter((node) => node.parentNode === element);
        const others = nodes(element).filter((node) => !ours.includes(node));
        // The parser added to what it had begun, or the page drew the element anew.
        before = ours.length ? [...before, ...others] : others;
      }
      kind.apply(element, change);
      change.seen.set(element, { before, after: kind.look(element, change), nodes: kind.save && nodes(element) });
    }
  });

  const undoChange = safe((change) => {
    if (change.sheet) {
      doc.adoptedStyleSheets = doc.adoptedStyleSheets.filter((sheet) => sheet !== change.sheet);
      return;
    }
    const kind = kinds[change.changeType];
    for (const element of doc.querySelectorAll(change.selector)) {
      const was = change.seen.get(element);
      if (was && isSame(was.after, kind.look(element, change))) kind.undo(element, change, was.before);
    }
  });

  const sweep = () => active.forEach(applyChange);
  const observer = new MutationObserver(safe(sweep));

  const show = (changes) => {
    active.filter((change) => !changes.includes(change)).reverse().forEach(undoChange);
    changes.filter((change) => !active.includes(change)).forEach((change) => { change.seen = new WeakMap(); });
    active = changes;
    owners = new WeakMap();
    observer.disconnect();
    if (!active.length) return;
    observer.observe(doc, {
      subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ["class", "style", "id"],
    });
    sweep();
  };

  // ---- Experiments ----

  let assignments = new Map();
  const readAssignments = () => {
    const stored = parse(read(LOCAL, "gmp_asg"));
    if (stored && stored.visitorId === visitorId && Array.isArray(stored.variants)) assignments = new Map(stored.variants);
  };

  const findVariant = ({ variants }, variantId) => variants.find(({ id }) => id === variantId);

  // A visitor keeps a variant once met, whatever becomes of weights and traffic.
  const ASSIGNMENTS_MAX = 200;
  const variantFor = (experiment) => {
    if (forced) return forced.get(experiment.id);
    const kept = findVariant(experiment, assignments.get(experiment.id));
    if (kept) return kept;
    const weights = experiment.variants.map(({ weight }) => weight);
    const variant = experiment.variants[assign(experiment.id, visitorId, weights, experiment.trafficPercentage)];
    if (variant && isLive) {
      readAssignments();
      assignments.set(experiment.id, variant.id);
      write(LOCAL, "gmp_asg", JSON.stringify({ visitorId, variants: [...assignments].slice(-ASSIGNMENTS_MAX) }));
    }
    return variant;
  };

  const decide = () => {
    const url = new URL(location.href);
    if (url.searchParams.has("gmp_force")) url.searchParams.delete("gmp_force");
    const changes = [];
    for (const experiment of config.experiments) {
      const variant = matchesUrl(experiment.urlMatchType, experiment.targetUrl, url) && variantFor(experiment);
      if (!variant) continue;
      changes.push(...variant.changes);
      const eventData = { experimentId: experiment.id, variantId: variant.id, variantName: variant.name };
      emit("experiment_impression", { eventData }, true);
    }
    show(changes);
  };

  // ---- Page views ----

  const SCROLL_DEPTHS = [25, 50, 75, 100];
  let isLive = false;
  let view = {};
  let visibleSince = 0;

  // A fragment is a place on the page, unless it is a route such as #/cart.
  const viewKey = () => location.pathname + location.search + (/^#[!/]/.test(location.hash) ? location.hash : "");

  const utmOf = (search) => {
    const parameters = new URLSearchParams(search);
    const found = ["source", "medium", "campaign", "term", "content"]
      .map((name) => [name, parameters.get("utm_" + name)])
      .filter(([, value]) => value);
    return found.length ? { utm: Object.fromEntries(found) } : {};
  };

  const beginView = (referrer) => {
    view = { key: viewKey(), pathname: location.pathname, fullUrl: location.href, scrolled: 0 };
    visibleSince = doc.visibilityState === "visible" ? performance.now() : 0;
    emit("pageview", { ...(referrer && { referrer }), ...utmOf(location.search) });
    decide();
  };

  // Seconds in view since the last report, so that reports add up.
  const reportEngagement = () => {
    const seconds = visibleSince && Math.round(performance.now() - visibleSince) / 1000;
    visibleSince = 0;
    if (seconds) emit("engagement", { eventData: { engagementSeconds: seconds } });
  };

  const follow = () => {
    if (!isLive) return;
    const from = view.fullUrl;
    if (viewKey() === view.key) view.fullUrl = location.href;
    else {
      reportEngagement();
      beginView(from);
    }
  };

  const measureScroll = () => {
    const { scrollHeight } = doc.documentElement;
    if (!isLive || win.scrollY <= 0) return;
    const depth = ((win.scrollY + win.innerHeight + 1) / scrollHeight) * 100;
    for (; depth >= SCROLL_DEPTHS[view.scrolled]; view.scrolled++) {
      emit("scroll", { eventData: { depth: SCROLL_DEPTHS[view.scrolled] } });
    }
  };

  const leave = () => {
    if (!isLive) return;
    isLeaving = true;
    reportEngagement();
    hurry();
  };

  const comeBack = () => {
    isLeaving = false;
    visibleSince = visibleSince || performance.now();
  };

  const watch = () => {
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
    on(doc, "visibilitychange", () => (doc.visibilityState === "hidden" ? leave() : comeBack()));
    on(win, "pageshow", (event) => {
      if (!event.persisted) return;
      comeBack();
      beginView(doc.referrer);
    });
    on(win, "online", hurry);
  };

  // ---- The page's side ----

  // Calls made before the page counts: before this script came, or while the page is rendered ahead.
  const early = [];

  const api = {
    ready: true,
    q: { push: (...calls) => calls.forEach(replay) },
    track: safe((eventType, options) => {
      if (!isLive) return void early.push(["track", eventType, options]);
      if (typeof eventType !== "string" || !eventType) return;
      follow();
      const details = {};
      if (options?.eventName != null) details.eventName = String(options.eventName);
      const data = safe(() => JSON.stringify(options.eventData))();
      if (data?.[0] === "{") details.eventData = JSON.parse(data);
      emit(eventType, details, eventType === "conversion");
    }),
    trackConversion: (name) => api.track("conversion", { eventName: name }),
    getExperimentAssignments: () => (counted ? config.experiments : []).flatMap((experiment) => {
      const variant = findVariant(experiment, assignments.get(experiment.id));
      if (!variant) return [];
      return {
        experimentId: experiment.id,
        experimentName: experiment.name,
        variantId: variant.id,
        variantName: variant.name,
      };
    }),
  };

  const replay = safe(([method, ...args]) => {
    if (/^track(Conversion)?$/.test(method)) api[method](...args);
  });

  const start = safe(() => {
    isLive = true;
    visitorId = visitorId || uuid();
    if (counted) {
      setCookie(visitorId, COOKIE_SECONDS);
      write(LOCAL, "gmp_vid", visitorId);
      readAssignments();
      adopt();
    }
    watch();
    beginView(doc.referrer);
    if (outbox.length) arm(ORDINARY_DELAY_MS);
    early.splice(0).forEach(replay);
  });

  win.grademypage = api;
  if (!counted && !forced) {
    api.track = () => {};
    return;
  }
  if (Array.isArray(stub?.q)) early.push(...stub.q);
  if (!doc.prerendering) return void start();
  // A page that is rendered ahead shows its variant to a visitor who is known, and counts on activation only.
  on(doc, "prerenderingchange", start, { once: true });
  if (isKnown) safe(() => (readAssignments(), decide()))();
})();
