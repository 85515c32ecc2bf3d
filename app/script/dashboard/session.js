// Forms that stay open longer than their session: before one is sent, the server is asked who is logged in. Nobody
// any more: the page stays, with what was typed, and says so. Whoever logs in again in another tab goes on here.
import { forgetTold, problemIn, problemOf, tell } from "./refusals.js";

const ANSWER_MS_MAX = 10_000;
// Who logs out need not be logged in, and who has to choose a password first has no other form.
const ASKS = "[method=post]:has([name=csrf]):not([action$='/logout'], [action$='/account'])";

// Who is logged in, once all forms of the page carry the token of that session.
export const renewTokens = async (document) => {
  const answer = await fetch("/dashboard/session", {
    headers: { "HX-Request": "true" },
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
  });
  if (!answer.ok) throw problemIn(answer.status, await answer.text());
  const { name, csrf } = await answer.json();
  for (const field of document.querySelectorAll("input[name=csrf]")) field.value = csrf;
  return name;
};

export const keepSession = (document) => {
  let isAsking = false;
  let sent = null;

  const mayGoOn = async (used) => {
    if (isAsking) return false;
    isAsking = true;
    try {
      const name = await renewTokens(document);
      forgetTold();
      const who = document.querySelector(".who a");
      if (who.textContent !== name) {
        who.textContent = name;
        who.setAttribute("aria-label", `Your account: ${name}`);
        throw { detail: `you are logged in as ${name} by now: press once more to go on as ${name}` };
      }
      return true;
    } catch (thrown) {
      tell(used, problemOf(thrown));
      return false;
    } finally {
      isAsking = false;
    }
  };

  // Before other listeners, for which a form is sent once it may be.
  document.addEventListener("submit", async (event) => {
    const { target: form, submitter } = event;
    if (form === sent || !form.matches(ASKS)) return;
    event.preventDefault();
    event.stopPropagation();
    if (!await mayGoOn(submitter ?? form)) return;
    sent = form;
    form.requestSubmit(submitter);
    sent = null;
  }, true);

  document.addEventListener("htmx:confirm", async (event) => {
    const { elt, verb, issueRequest } = event.detail;
    if (verb !== "post") return;
    event.preventDefault();
    if (await mayGoOn(elt)) issueRequest(true);
  });
};
