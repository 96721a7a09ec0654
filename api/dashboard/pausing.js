// The dialog that pauses a schedule or a limit: it asks for the reason and, for a limit, for how long.

import { closeDialog, openDialog } from "./dialog.js";
import { byId, h } from "./dom.js";

const LENGTHS = { "": "until it is resumed", 600: "10 minutes", 3600: "1 hour", 14400: "4 hours", 86400: "1 day" };

// Resolves to the body of the request, or to null if nobody wants it.
export async function askPause(title, { hasEnd }) {
  byId("dialog").returnValue = "";
  let body = null;
  const send = (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    const reason = String(given.get("reason")).trim();
    const length = given.get("length");
    body = { ...(reason ? { reason } : {}), ...(length ? { for_s: Number(length) } : {}) };
    closeDialog("yes");
  };
  await openDialog(title, h("form", { key: title, class: "submit", novalidate: true, onsubmit: send },
    h("div", { class: "field" }, h("label", { for: "pause-reason" }, "Reason"),
      h("input", { id: "pause-reason", name: "reason", maxlength: 200, autocomplete: "off" })),
    hasEnd && h("div", { class: "field" }, h("label", { for: "pause-length" }, "For"),
      h("select", { id: "pause-length", name: "length" }, Object.keys(LENGTHS).sort().map((length) => h("option", { value: length }, LENGTHS[length])))),
    h("div", { class: "buttons" },
      h("button", { type: "button", onclick: () => closeDialog() }, "Leave it running"),
      h("button", { type: "submit", class: "strong" }, "Pause"))));
  return body;
}
