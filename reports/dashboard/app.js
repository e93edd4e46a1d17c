// The start: who looks, and then the frame.

import { forgetKey, get, key } from "./api.js";
import { Frame } from "./frame/frame.js";
import { allow } from "./may.js";
import { forget, isRemembered, load } from "./session.js";
import { openLink, openSignIn, takeLink } from "./views/signin.js";

const root = document.getElementById("app");

let frame = null;

async function start() {
  const me = await get("/v1/me");
  allow(me.key.scopes);
  frame?.close();
  frame = new Frame(root, me);
}

window.addEventListener("linkjolt:logout", ({ detail }) => {
  // A login that is refused says so itself.
  if (!frame) return;
  frame.close();
  frame = null;
  login(detail);
});

function login(message) {
  forgetKey();
  forget();
  openSignIn(root, start, message);
}

const link = takeLink();
if (link) openLink(root, start, link);
else if (key()) start().catch((error) => login(error.message));
else if (isRemembered()) load().then(start).catch((error) => login(error.message));
else login();
