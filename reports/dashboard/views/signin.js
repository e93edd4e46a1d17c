// The pages before the dashboard: signing in, and one-time links.

import { h, replace } from "../dom.js";
import { keepKey, forgetKey } from "../api.js";
import { signIn, useLink } from "../session.js";

const LINKS = {
  first: { title: "Welcome to LinkJolt", text: "This link opens the dashboard as its owner, once.", button: "Open the dashboard" },
  join: { title: "Join LinkJolt", text: "Choose a password. From then on you sign in by your e-mail address and this password.", button: "Set the password and sign in" },
  reset: { title: "Choose a new password", text: "All your other sessions end.", button: "Set the password and sign in" },
};
// Fields that a link needs of some people only: shown when the server asks for them.
const ASKED = {
  email: ["E-mail address", { type: "email", autocomplete: "username" }],
  code: ["Code of your authenticator app, or a recovery code", { autocomplete: "one-time-code" }],
};

// The purpose and token of a one-time link in the address, which leaves the address at once.
export function takeLink() {
  const [, purpose, token] = location.hash.match(/^#\/(first|join|reset)\?token=([\w-]+)$/) ?? [];
  if (!token) return null;
  history.replaceState(null, "", location.pathname);
  return { purpose, token };
}

function page(root, title, ...content) {
  document.title = `${title} · LinkJolt`;
  replace(root, h("main", { id: "main", class: "login" }, h("h1", {}, title), content));
}

const input = (label, props) => h("label", {}, label, h("input", props));

// A form whose failure is shown above it, and whose button waits meanwhile.
function form(label, error, fields, submit) {
  const button = h("button", { class: "primary" }, label);
  const send = async (event) => {
    event.preventDefault();
    button.disabled = true;
    replace(error);
    try {
      await submit(Object.fromEntries(new FormData(event.target)), event.target);
    } catch (problem) {
      replace(error, problem.message);
      for (const { field } of problem.errors ?? []) {
        if (ASKED[field] && !event.target.elements[field]) button.before(input(ASKED[field][0], { name: field, required: true, ...ASKED[field][1] }));
      }
    } finally {
      button.disabled = false;
    }
  };
  return h("form", { onsubmit: send }, fields, button);
}

export function openSignIn(root, start, message) {
  const error = h("p", { class: "error", role: "alert" }, message ?? "");
  const email = h("input", { type: "email", name: "email", autocomplete: "username", required: true });
  const byPassword = form("Sign in", error, [
    h("label", {}, "E-mail address", email),
    input("Password", { type: "password", name: "password", autocomplete: "current-password", required: true }),
    input("Code, if you use an authenticator app", { name: "code", autocomplete: "one-time-code" }),
  ], async (credentials) => {
    await signIn(credentials);
    await start();
  });
  const byKey = form("Log in", error, [
    input("API key", { type: "password", name: "key", autocomplete: "off", required: true, placeholder: "lj_live_…" }),
  ], async ({ key }) => {
    keepKey(key.trim());
    try {
      await start();
    } catch (problem) {
      forgetKey();
      throw problem;
    }
  });
  page(root, "LinkJolt", error, byPassword, h("h2", {}, "Or with an API key"),
    h("p", { class: "soft" }, "It needs the scope reports:read, and is kept until this tab is closed."), byKey);
  email.focus();
}

export function openLink(root, start, { purpose, token }) {
  const { title, text, button } = LINKS[purpose];
  const error = h("p", { class: "error", role: "alert" });
  const use = async (fields) => {
    forgetKey();
    await useLink({ token, ...fields });
    location.hash = purpose === "first" ? "#/you" : "#/overview";
    await start();
  };
  const password = h("input", { type: "password", name: "password", autocomplete: "new-password", required: true, minlength: 12, maxlength: 1024 });
  const fields = purpose === "first" ? [] : [h("label", {}, "New password, at least 12 characters", password)];
  page(root, title, h("p", { class: "soft" }, text), error, form(button, error, fields, use));
  if (purpose === "first") use({}).catch((problem) => replace(error, problem.message));
  else password.focus();
}
