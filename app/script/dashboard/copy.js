// `<button hidden data-copy="id of what to copy">`: shown and at work where there is a clipboard to write to.
// Of a link it is the whole address. Everywhere else a click into the code selects it whole (`user-select: all`).
const SAYS_SO_MS = 2000;

export const copyButtons = (document) => {
  if (!navigator.clipboard) return;
  const show = () => {
    for (const button of document.querySelectorAll("button[data-copy]")) button.hidden = false;
  };
  show();
  document.addEventListener("htmx:afterSettle", show);
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    const label = button.dataset.label || (button.dataset.label = button.textContent);
    try {
      await navigator.clipboard.writeText(source.href || source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = label; }, SAYS_SO_MS);
  });
};
