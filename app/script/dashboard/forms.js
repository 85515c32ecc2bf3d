// `<form method="post" data-once>` is sent once, however often its button is pressed: its answer shows something that
// is shown only then, as a new key, which must not be lost to a second click.
export const sendOnce = (document) => {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!("once" in form.dataset)) return;
    if (form.dataset.once === "sent") event.preventDefault();
    form.dataset.once = "sent";
  });
  // Back to a page that the browser kept: its forms can be sent again.
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-once]")) form.dataset.once = "";
  });
};
