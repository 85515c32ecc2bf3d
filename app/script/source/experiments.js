// Experiments: which variant this visitor keeps, and what it shows.
//
// A page asks what runs when an answer to its events says that something else does, every minute while it is seen, and
// when it is taken up again: what was stopped goes, and nobody is given a variant of an experiment that was stopped
// longer ago.
import { assign, matchesUrl } from "./assignment.js";
import { LOCAL, URL, doc, parse, read, safe, write } from "./browser.js";
import { show } from "./changes.js";
import { byId, config } from "./config.js";
import { ANSWER_MS_MAX, apiUrl, emit } from "./delivery.js";
import { isLive, view } from "./page.js";
import { counted, forced, visitorId } from "./visitor.js";

let assignments = new Map();
export const readAssignments = (otherwise = assignments) => {
  const stored = parse(read(LOCAL, "gmp_asg"));
  assignments = (stored?.visitorId === visitorId && safe(() => new Map(stored.variants))()) || otherwise;
};

const FRESH_MS = 60e3;
let readAt = Date.now();
const isStale = () => Date.now() - readAt > FRESH_MS;
let isAsking = false;
export const refresh = async (isDue = isStale()) => {
  if (isAsking || !isDue || !counted) return;
  isAsking = true;
  try {
    const answer = await fetch(`${apiUrl}experiments/active?projectId=${config.projectId}`, {
      cache: "no-cache",
      signal: AbortSignal.timeout?.(ANSWER_MS_MAX),
    });
    const { experiments } = await answer.json();
    // What shows stays the same object, so that it is not undone and shown again.
    for (const { id, variants } of experiments) {
      byId(config.experiments, id)?.variants.forEach(({ changes }, i) => { variants[i].changes = changes; });
    }
    config.experiments = experiments;
    config.version = versionIn(answer);
    readAt = Date.now();
    decide();
  } catch (error) {
    // What is known stays shown; the next answer or minute asks again.
  }
  isAsking = false;
};
// Nothing, where a proxy took the header away, from either answer.
const versionIn = ({ headers }) => headers.get("Experiments-Version");
const isNews = (version) => version && config.version && version !== config.version;
export const hear = (answer) => refresh(isNews(versionIn(answer)));
export const keepFresh = () => setInterval(() => refresh(!doc.hidden), FRESH_MS);

// A visitor keeps a variant once met, whatever becomes of weights and traffic.
const ASSIGNMENTS_MAX = 200;
const variantFor = (experiment) => {
  if (!counted) return forced?.get(experiment.id);
  const kept = byId(experiment.variants, assignments.get(experiment.id));
  if (kept) return kept;
  if (isStale()) return;
  const weights = experiment.variants.map(({ weight }) => weight);
  const variant = experiment.variants[assign(experiment.id, visitorId, weights, experiment.trafficPercentage)];
  if (variant && isLive) {
    readAssignments();
    assignments.set(experiment.id, variant.id);
    write(LOCAL, "gmp_asg", JSON.stringify({ visitorId, variants: [...assignments].slice(-ASSIGNMENTS_MAX) }));
  }
  return variant;
};

const told = (experiment, variant) => ({
  experimentId: experiment.id,
  variantId: variant.id,
  variantName: variant.name,
});

// What was met by this visitor among the running experiments, for the page to forward.
export const assigned = () => config.experiments.flatMap((experiment) => {
  const variant = byId(experiment.variants, assignments.get(experiment.id));
  return variant ? told(experiment, variant) : [];
});

export const decide = () => {
  const url = new URL(location);
  if (url.searchParams.has("gmp_force")) url.searchParams.delete("gmp_force");
  const changes = [];
  for (const experiment of config.experiments) {
    const variant = matchesUrl(experiment.urlMatchType, experiment.targetUrl, url) && variantFor(experiment);
    if (!variant) continue;
    changes.push(...variant.changes);
    if (view.told_?.has(experiment.id)) continue;
    view.told_?.add(experiment.id);
    emit("experiment_impression", { eventData: told(experiment, variant) }, true);
  }
  show(changes);
  refresh();
};
