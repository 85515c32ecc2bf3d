// Experiments: which variant this visitor keeps, and what it shows.
import { assign, matchesUrl } from "./assignment.js";
import { LOCAL, parse, read, safe, write } from "./browser.js";
import { show } from "./changes.js";
import { config } from "./config.js";
import { emit } from "./delivery.js";
import { isLive } from "./page.js";
import { counted, forced, visitorId } from "./visitor.js";

let assignments = new Map();
export const readAssignments = () => {
  const stored = parse(read(LOCAL, "gmp_asg"));
  if (stored?.visitorId === visitorId) assignments = safe(() => new Map(stored.variants))() || assignments;
};

const findVariant = ({ variants }, variantId) => variants.find(({ id }) => id === variantId);

// A visitor keeps a variant once met, whatever becomes of weights and traffic.
const ASSIGNMENTS_MAX = 200;
const variantFor = (experiment) => {
  if (!counted) return forced?.get(experiment.id);
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

const told = (experiment, variant) => ({
  experimentId: experiment.id,
  variantId: variant.id,
  variantName: variant.name,
});

// What was met by this visitor among the running experiments, for the page to forward.
export const assigned = () => config.experiments.flatMap((experiment) => {
  const variant = findVariant(experiment, assignments.get(experiment.id));
  return variant ? { ...told(experiment, variant), experimentName: experiment.name } : [];
});

export const decide = () => {
  const url = new URL(location.href);
  if (url.searchParams.has("gmp_force")) url.searchParams.delete("gmp_force");
  const changes = [];
  for (const experiment of config.experiments) {
    const variant = matchesUrl(experiment.urlMatchType, experiment.targetUrl, url) && variantFor(experiment);
    if (!variant) continue;
    changes.push(...variant.changes);
    emit("experiment_impression", { eventData: told(experiment, variant) }, true);
  }
  show(changes);
};
