// The browser, with every access that may throw made safe.

export const win = window;
export const doc = document;
export const nav = navigator;
// Pages have variables named URL; the standard's other name for the same thing is nobody's.
export const URL = webkitURL;

// What nobody uses is left out of a bundle.
export const safe = /* @__NO_SIDE_EFFECTS__ */ (f) => (...args) => {
  try {
    return f(...args);
  } catch (error) {
    // A measuring script never breaks the page it measures.
  }
};
export const soon = (f) => Promise.resolve().then(safe(f));
export const on = (target, type, f, options) => target.addEventListener(type, safe(f), options);

// ---- Storage: every access may throw (blocked cookies, sandboxed frames, a full disk) ----

export const read = safe((area, key) => win[area].getItem(key));
export const write = safe((area, key, value) => win[area].setItem(key, value));
export const parse = safe(JSON.parse);
export const LOCAL = "localStorage";
export const SESSION = "sessionStorage";
export const remove = safe((key, area = LOCAL) => win[area].removeItem(key));
export const COOKIE_SECONDS = 400 * 86400;
export const setCookie = safe((value, seconds) => {
  const secure = location.protocol === "https:" ? ";Secure" : "";
  doc.cookie = `gmp_vid=${value};Max-Age=${seconds};Path=/;SameSite=Lax${secure}`;
});
export const eachKey = safe((prefix, f, area = LOCAL) =>
  Object.keys(win[area]).forEach((key) => key.startsWith(prefix) && f(key, area)));

// crypto.randomUUID exists on secure origins only; the address of a blob ends in an id of the same kind everywhere.
export const uuid = () => URL.createObjectURL(new Blob()).slice(-36);
