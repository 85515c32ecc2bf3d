// Changes of the page.
//
// `look` says what an element shows now, as a list; a change is in place while that is what it was right after
// the change. Nodes that the change displaced are kept, so that leaving the page of an experiment in a
// single-page application brings them back. Properties that end in _ get short names when the script is built.
import { doc, safe } from "./browser.js";

const REAPPLIES_PER_SECOND = 10;
// While the parser runs, elements arrive in many small steps; the bound only stops a loop.
const PARSING_STEPS_PER_SECOND = 500;
const MET_BETWEEN_CLEARINGS = 1000;

// Made where it is needed: a page's policy may forbid it, and report each attempt.
const makePolicy = safe(() => trustedTypes.createPolicy("gmp", { createHTML: (html) => html }));
let policy;
const words = (change) => change.value.match(/\S+/g) || [];
const nodes = (element) => [...element.childNodes];
const putNodes = (element, change, before) => element.replaceChildren(...before);

const kinds = {
  text: {
    look_: (element) => [element.textContent],
    save_: nodes,
    apply_: (element, change) => { element.textContent = change.value; },
    undo_: putNodes,
  },
  html: {
    look_: nodes,
    save_: nodes,
    // The server has sanitised the value against its list; setHTML without a list of its own takes scripts and
    // handlers out once more.
    apply_: (element, change) => {
      if (element.setHTML) element.setHTML(change.value, { sanitizer: {} });
      else element.innerHTML = (policy ??= makePolicy()) ? policy.createHTML(change.value) : change.value;
    },
    undo_: putNodes,
  },
  style: {
    look_: ({ style }, { property }) => [style.getPropertyValue(property), style.getPropertyPriority(property)],
    apply_: ({ style }, { property, value }) => {
      const plain = value.replace(/\s*!important\s*$/i, "");
      style.setProperty(property, plain, plain === value ? "" : "important");
    },
    undo_: ({ style }, { property }, before) => style.setProperty(property, ...before),
  },
  class: {
    look_: ({ classList }, change) => words(change).map((word) => classList.contains(word)),
    apply_: ({ classList }, change) => classList.add(...words(change)),
    undo_: ({ classList }, change, before) => words(change).forEach((word, i) => before[i] || classList.remove(word)),
  },
};

const isSame = (a, b) => a.length === b.length && a.every((item, i) => item === b[i]);
const isParsing = (element) => {
  while (element && !element.nextSibling) element = element.parentNode;
  return !element;
};

// Of two changes to one thing the later one in the configuration holds; they would take turns for ever.
let owners = new WeakMap();
const owns = (change, element) => {
  const thing = change.changeType === "style" ? change.property : kinds[change.changeType].save_;
  if (!thing) return true;
  const owned = owners.get(element) || new Map();
  owners.set(element, owned);
  if (!(active.indexOf(owned.get(thing)) > active.indexOf(change))) owned.set(thing, change);
  return owned.get(thing) === change;
};

// One step of a change per sweep; false when this second's steps are used up.
const mayStep = (change, isQuiet) => {
  const now = performance.now();
  if (!(now - change.since_ < 1000)) { change.since_ = now; change.steps_ = [0, 0]; }
  const limit = isQuiet ? PARSING_STEPS_PER_SECOND : REAPPLIES_PER_SECOND;
  return change.steps_[+isQuiet]++ < limit;
};

let active = [];
let sweepTimer = 0;

const applySheet = (change) => {
  if (!change.sheet_) {
    change.sheet_ = new CSSStyleSheet();
    change.sheet_.replaceSync(change.value.includes("{") ? change.value : `${change.selector}{${change.value}}`);
  }
  if (!doc.adoptedStyleSheets.includes(change.sheet_)) doc.adoptedStyleSheets.push(change.sheet_);
};

const applyChange = safe((change) => {
  if (change.changeType === "css") return applySheet(change);
  const kind = kinds[change.changeType];
  const allowed = [];
  for (const element of doc.querySelectorAll(change.selector)) {
    const was = change.seen_.get(element);
    if (was && isSame(was.after_, kind.look_(element, change))) continue;
    if (!owns(change, element)) continue;
    const isQuiet = doc.readyState === "loading" && (!was || isParsing(element));
    if (!(allowed[+isQuiet] ??= mayStep(change, isQuiet))) {
      sweepTimer ||= setTimeout(() => { sweepTimer = 0; sweep(); }, 1000);
      continue;
    }
    let before = was ? was.before_ : (kind.save_ || kind.look_)(element, change);
    if (was && kind.save_) {
      const ours = was.nodes_.filter((node) => node.parentNode === element);
      const others = nodes(element).filter((node) => !ours.includes(node));
      // The parser added to what it had begun, or the page drew the element anew.
      before = ours.length ? [...before, ...others] : others;
    }
    kind.apply_(element, change);
    // Or the parser would put the rest of a text that it had begun into ours.
    if (isQuiet && kind.save_) element.append(new Comment());
    const after = kind.look_(element, change);
    // A page may draw its rows anew all day: what is gone is let go of.
    if (!was && change.met_.push(new WeakRef(element)) % MET_BETWEEN_CLEARINGS === 0) {
      change.met_ = change.met_.filter((met) => met.deref());
    }
    change.seen_.set(element, { before_: before, after_: after, nodes_: kind.save_ && nodes(element) });
  }
});

const undoChange = safe((change) => {
  if (change.sheet_) {
    doc.adoptedStyleSheets = doc.adoptedStyleSheets.filter((sheet) => sheet !== change.sheet_);
    return;
  }
  const kind = kinds[change.changeType];
  for (const met of change.met_) {
    const element = met.deref();
    const was = change.seen_.get(element);
    if (was && isSame(was.after_, kind.look_(element, change))) kind.undo_(element, change, was.before_);
  }
});

const sweep = () => active.forEach(applyChange);
const observer = new MutationObserver(safe(sweep));

export const show = (changes) => {
  active.filter((change) => !changes.includes(change)).reverse().forEach(undoChange);
  changes.filter((change) => !active.includes(change)).forEach((change) => { change.seen_ = new WeakMap(); change.met_ = []; });
  active = changes;
  owners = new WeakMap();
  observer.disconnect();
  if (!active.length) return;
  observer.observe(doc, {
    subtree: true, childList: true, characterData: true, attributeFilter: ["class", "style", "id"],
  });
  sweep();
};
