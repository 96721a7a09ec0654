// The page's only dialog. The browser keeps the focus inside while it is open, and restores it afterwards.

import { byId, h, render } from "./dom.js";

export function openDialog(title, ...content) {
  const dialog = byId("dialog");
  drawDialog(title, ...content);
  if (!dialog.open) dialog.showModal();
  return new Promise((closed) => dialog.addEventListener("close", () => closed(dialog.returnValue), { once: true }));
}

export function drawDialog(title, ...content) {
  render(byId("dialog"), h("h2", { id: "dialog-title" }, title), ...content);
}

export const closeDialog = (value = "") => byId("dialog").close(value);

// Resolves to true if the user confirmed.
export async function confirm(title, words, verb) {
  byId("dialog").returnValue = "";
  const answer = await openDialog(
    title,
    h("p", {}, words),
    h("div", { class: "buttons" },
      h("button", { type: "button", onclick: () => closeDialog() }, "Keep it"),
      h("button", { type: "button", class: "strong", onclick: () => closeDialog("yes") }, verb)),
  );
  return answer === "yes";
}

// The clipboard is available on secure origins only; elsewhere the text is shown in a dialog, ready to be copied.
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    await openDialog(
      "Copy this",
      h("textarea", { readonly: true, rows: 8, value: text, "aria-label": "Text to copy", onfocus: (event) => event.target.select() }),
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => closeDialog() }, "Close")),
    );
    return false;
  }
}
