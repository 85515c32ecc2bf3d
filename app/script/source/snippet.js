// The snippet for pages that load the script with async: until the script comes, it hides what experiments change on
// this very page, and only that, for half a second at most.
//
// What to hide is what the script left in gmp_hide on the page before, or else what ran when the snippet was copied.
import { matchesUrl } from "./assignment.js";
import { LOCAL, doc, parse, read, safe, win } from "./browser.js";

const HIDDEN_MS_MAX = 500;

// The server puts [address of the script, running experiments] in this place.
const [source, copied] = __GMP_CONFIG__;
const stub = (win.grademypage = win.grademypage || { q: [] });
const tag = doc.createElement("script");
tag.async = true;
// Attributes of the snippet's own tag, such as data-consent.
Object.assign(tag.dataset, doc.currentScript.dataset);

// Calls wait for the script.
for (const method of ["track", "trackConversion", "optIn", "optOut"]) {
  stub[method] ??= (...args) => stub.q.push([method, ...args]);
}
stub.getExperimentAssignments ??= () => [];

stub.reveal = () => {};
const hide = safe((experiments) => {
  const rules = experiments
    .filter(({ urlMatchType, targetUrl }) => matchesUrl(urlMatchType, targetUrl, location))
    .flatMap(({ variants }) => variants.flatMap(({ changes }) => changes))
    .map(({ selector }) => selector + "{opacity:0!important}");
  if (!rules[0]) return true;
  const sheet = new CSSStyleSheet();
  // A rule each: a selector that the browser does not know spoils no other.
  sheet.replaceSync(rules.join(""));
  doc.adoptedStyleSheets = [...doc.adoptedStyleSheets, sheet];
  stub.reveal = tag.onerror = () => {
    doc.adoptedStyleSheets = doc.adoptedStyleSheets.filter((each) => each !== sheet);
  };
  setTimeout(stub.reveal, HIDDEN_MS_MAX);
  return true;
});
// Trusted Types take the address of a script from a policy only. Where the page allows none, the script does not come,
// and nothing is hidden for it.
const policy = safe(() => trustedTypes.createPolicy("gmp-async", { createScriptURL: (url) => url }))();
safe(() => {
  tag.src = policy ? policy.createScriptURL(source) : source;
  if (!hide(parse(read(LOCAL, "gmp_hide")))) hide(copied);
  doc.head.append(tag);
})();
