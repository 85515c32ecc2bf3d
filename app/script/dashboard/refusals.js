// What the server refuses to a script is said in words beside what was used; htmx by itself would say nothing.
//
// The words are those of the answer's problem details (app/problems.py). They go when the next request succeeds.
const UNREACHED = { detail: "the server could not be reached, or did not answer: try again" };
// What to do first, in another tab, so that nothing is lost here.
const FIRST = {
  "urn:prooflog:problem:logged_out": ["/dashboard/login", "Log in again in another tab"],
  "urn:prooflog:problem:password_to_choose": ["/dashboard/account", "Choose it in another tab"],
};

export const problemIn = (status, text) => {
  try {
    const problem = JSON.parse(text);
    if (problem.detail) return problem;
  } catch (error) {
    // Not from the server itself, but from something in front of it.
  }
  return { detail: `the server answered ${status}, and did not say why` };
};

// Of what was thrown: a problem, or else an error of the network.
export const problemOf = (thrown) => (thrown.detail ? thrown : UNREACHED);

const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1).replace(/\.$/, "")}.`;

// The words as a node, with a link where something has to be done first.
export const wordsOf = (problem) => {
  const words = document.createElement("p");
  words.append(sentence(problem.detail));
  const [address, what] = FIRST[problem.type] ?? [];
  if (address) {
    const link = document.createElement("a");
    Object.assign(link, { href: address, target: "_blank", textContent: what });
    words.append(" ", link, ", then go on here: what you typed stays.");
  }
  return words;
};

// The field that was wrong, if the problem is of one alone; it is named with what it holds.
const fieldOf = (used, { errors = [] }) => errors.length === 1 && used.closest("form")?.elements[errors[0].path];

const forget = (words) => {
  words.remove();
  const field = words.id && document.querySelector(`[aria-describedby="${words.id}"]`);
  if (!field) return;
  field.removeAttribute("aria-describedby");
  field.removeAttribute("aria-invalid");
};

export const tell = (used, problem) => {
  const place = used.closest(".buttons, .steps, .row, .inline, nav") ?? used;
  const field = fieldOf(used, problem);
  const words = wordsOf(field ? { ...problem, detail: `“${field.value}” ${problem.errors[0].reason}` } : problem);
  const said = place.nextElementSibling;
  // A part that asks every few seconds says the same once.
  if (said?.dataset.told === words.textContent) return;
  if (said && "told" in said.dataset) forget(said);
  words.className = "error";
  words.setAttribute("role", "alert");
  words.dataset.told = words.textContent;
  words.dataset.lent = "";
  place.after(words);
  if (field) {
    words.id = `told-${field.id}`;
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", words.id);
  }
  if (used.matches("form, button, a")) words.scrollIntoView({ block: "nearest" });
};

export const forgetTold = () => {
  for (const words of document.querySelectorAll("[data-told]")) forget(words);
};

export const tellRefusals = (document) => {
  document.addEventListener("htmx:responseError", ({ detail: { elt, xhr } }) => {
    tell(elt, problemIn(xhr.status, xhr.responseText));
  });
  document.addEventListener("htmx:sendError", ({ detail: { elt } }) => tell(elt, UNREACHED));
  document.addEventListener("htmx:afterRequest", ({ detail: { successful } }) => { if (successful) forgetTold(); });
};
