// Who sees what where: the same as domain/assignment.py, and no browser state.

const fnv1a = (text) => {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
};

// GrowthBook's hash, version 2: one of 10,000 steps in [0, 1), independent between seeds.
export const hash = (seed, value) => (fnv1a(String(fnv1a(seed + value))) % 10000) / 10000;

// The index of a visitor's variant, -1 when the visitor takes no part. Each variant has the beginning of its share
// of [0, 1), as much of it as the traffic allows: more traffic never moves a visitor.
export const assign = (experimentId, visitorId, weights, trafficPercentage) => {
  const n = hash(experimentId, visitorId);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let start = 0;
  return weights.findIndex((weight) => {
    const from = start;
    start += weight / total;
    return n >= from && n < from + (trafficPercentage / 100) * (weight / total);
  });
};

// The same table as matches_url in domain/assignment.py; `url` is a location or a URL.
export const matchesUrl = (type, target, url) => {
  const isPath = target[0] === "/";
  if (type === "exact") return target === (isPath ? url.pathname : url.href);
  if (type === "contains") return url.href.includes(target);
  if (type === "starts_with") return (isPath ? url.pathname + url.search : url.href).startsWith(target);
  return type === "all";
};
