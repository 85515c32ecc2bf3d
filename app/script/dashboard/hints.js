// Numbers that say what the head of their column says: the words are lent to them when they are wanted.
const lend = ({ target }) => {
  const number = target.closest?.(".explained");
  if (!number || number.querySelector(".hint")) return;
  const words = document.getElementById(number.getAttribute("aria-describedby"));
  if (!words) return;
  const hint = words.cloneNode(true);
  hint.removeAttribute("id");
  hint.dataset.lent = "";
  number.append(hint);
};

export const sharedHints = (document) => {
  document.addEventListener("pointerover", lend);
  document.addEventListener("focusin", lend);
};
