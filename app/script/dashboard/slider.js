// `<input type=range data-time>` over epoch seconds: while it moves, the output beside it says which moment it is at,
// to the second where it stops at seconds. Its right end is now.
export const momentOf = (seconds, characters = 16) =>
  new Date(seconds * 1000).toISOString().slice(0, characters).replace("T", " ") + " UTC";

const placeOf = ({ value, max, step }) => (value === max ? "now" : momentOf(Number(value), Number(step) % 60 ? 19 : 16));

export const timeSliders = (document) => {
  document.addEventListener("input", ({ target }) => {
    if (target.matches("input[data-time]")) target.form.querySelector("output").textContent = placeOf(target);
  });
};
