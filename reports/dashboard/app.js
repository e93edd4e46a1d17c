// The start: who looks, and then the frame.

import { forgetKey, get, keepKey, key } from "./api.js";
import { h, replace } from "./dom.js";
import { Frame } from "./frame/frame.js";

const root = document.getElementById("app");

function login(message) {
  const secret = h("input", { type: "password", name: "key", autocomplete: "current-password", required: true, placeholder: "lj_live_…" });
  const error = h("p", { class: "error", role: "alert" }, message ?? "");
  const enter = async (event) => {
    event.preventDefault();
    keepKey(secret.value.trim());
    try {
      await start();
    } catch (problem) {
      forgetKey();
      replace(error, problem.message);
    }
  };
  replace(root, h("main", { id: "main", class: "login" }, h("h1", {}, "LinkJolt"),
    h("p", { class: "soft" }, "Log in with an API key that has the scope reports:read. It is kept until this tab is closed."),
    error, h("form", { onsubmit: enter }, h("label", {}, "API key", secret), h("button", { class: "primary" }, "Log in"))));
  secret.focus();
}

let frame = null;

async function start() {
  const me = await get("/v1/me");
  frame?.close();
  frame = new Frame(root, me);
}

window.addEventListener("linkjolt:logout", ({ detail }) => {
  // A login that is refused says so itself.
  if (!frame) return;
  frame.close();
  frame = null;
  forgetKey();
  login(detail);
});

if (key()) start().catch((error) => login(error.message));
else login();
