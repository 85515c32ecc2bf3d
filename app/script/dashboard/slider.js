// `<input type=range data-time>` over epoch seconds: while it moves, the output beside it says which moment it is at.
const words = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";

export const timeSliders = (document) => {
  document.addEventListener("input", ({ target }) => {
    if (target.matches("input[data-time]")) target.form.querySelector("output").textContent = words(Number(target.value));
  });
};
