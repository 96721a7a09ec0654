// The form for the token, shown when the service requires one.

import { get, Refused } from "./api.js";
import { h, render } from "./dom.js";
import { signIn, signOut } from "./session.js";

export function showSignIn(root, { words = null, then }) {
  render(root,
    h("h1", { tabindex: -1 }, "Sign in"),
    h("form", { class: "submit narrow", novalidate: true, onsubmit: (event) => attempt(event, root, then) },
      h("div", { class: "field" },
        h("label", { for: "token" }, "Token"),
        h("input", { id: "token", name: "token", type: "password", autocomplete: "current-password", "aria-describedby": "token-fault" }),
        h("p", { class: "soft" }, "What API_TOKEN is set to. It is kept until this tab is closed."),
        h("p", { class: "fault", id: "token-fault", role: "alert" }, words)),
      h("div", { class: "buttons" }, h("button", { type: "submit", class: "strong" }, "Sign in"))));
  root.querySelector("#token").focus();
}

async function attempt(event, root, then) {
  event.preventDefault();
  const given = String(new FormData(event.target).get("token")).trim();
  try {
    if (!/^[\x21-\x7e]+$/.test(given)) throw new Refused(401, { message: "no token" });
    signIn(given);
    await get("/jobs?limit=1");
    then();
  } catch (fault) {
    signOut();
    const words = fault instanceof Refused ? "That is not the token." : `The token cannot be checked: ${fault.message}.`;
    showSignIn(root, { words, then });
  }
}
