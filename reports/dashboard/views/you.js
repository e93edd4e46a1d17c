// Who has signed in: name, address, password, authenticator app, sessions.

import { forgetKey } from "../api.js";
import { copyButton, field, h, openForm, openPanel, replace } from "../dom.js";
import { qr } from "../qr.js";
import { changeUser, confirmTotp, removeTotp, session, signOut, startTotp } from "../session.js";
import { tag } from "../table.js";

const current = () => field("Your password now", { name: "current_password", type: "password", autocomplete: "current-password", required: true });

export function open(frame) {
  const element = h("div", {});
  const leave = () => { forgetKey(); location.hash = ""; location.reload(); };
  const end = (everywhere) => signOut({ everywhere }).then(leave).catch((error) => frame.fail(error));
  const panel = (title, button, ...content) => h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, title), button), content);

  function byKey() {
    const { key } = frame.me;
    return panel("You", h("button", { onclick: leave }, "Log out"),
      h("p", {}, `You use the API key ${key.name} (${key.hint}). People with an e-mail address and a password are made under Settings.`));
  }

  function draw() {
    const found = session();
    if (!found) return replace(element, byKey());
    const { user } = found;
    const facts = [["Name", user.name], ["E-mail address", user.email ?? "none yet"], ["Role", user.role], ["Id", user.id]];
    return replace(element,
      found.has_password ? null : h("p", { class: "note" }, "Set an e-mail address and a password now: without them you cannot sign in again."),
      panel("You", h("button", { onclick: credentials }, found.has_password ? "Change" : "Set address and password"),
        h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]).flat())),
      panel("Authenticator app", user.two_factor ? h("button", { onclick: turnOff }, "Turn codes off")
        : h("button", { onclick: start, disabled: !found.has_password }, "Turn codes on"),
      h("p", {}, tag(user.two_factor ? "on" : "off"), " Signing in takes a code of the app as well as the password.")),
      panel("Sessions", null, h("p", {}, "A new password or other codes end all other sessions, too."),
        h("div", { class: "actions" }, h("button", { onclick: () => end(false) }, "Sign out"), h("button", { onclick: () => end(true) }, "Sign out everywhere"))));
  }

  function credentials() {
    const { user, has_password: known } = session();
    openForm(known ? "Change your name, address or password" : "Set address and password", [
      field("Name", { name: "name", required: true, maxlength: 200, value: user.name, autocomplete: "name" }),
      field("E-mail address", { name: "email", type: "email", required: true, value: user.email ?? "", autocomplete: "username" }),
      field(known ? "New password (empty: the same)" : "Password, at least 12 characters", { name: "password", type: "password", required: !known, minlength: 12, maxlength: 1024, autocomplete: "new-password" }),
      known ? field("Your password now, for another address or password", { name: "current_password", type: "password", autocomplete: "current-password" }) : null,
    ], "Save", async (form) => {
      await changeUser(Object.fromEntries(Object.entries(form).filter(([, value]) => value !== "")));
      draw();
    });
  }

  function start() {
    openForm("Turn codes on", [current()], "Continue", async ({ current_password: password }) => {
      const made = await startTotp(password);
      openForm("Scan the code with your app", [
        h("p", {}, qr(made.provisioning_uri)),
        h("p", {}, "Or type this secret into the app:"), h("pre", { class: "secret" }, made.secret),
        field("Code that the app shows", { name: "code", required: true, inputmode: "numeric", autocomplete: "one-time-code", maxlength: 6 }),
      ], "Turn codes on", async ({ code }) => {
        const { recovery_codes: codes } = await confirmTotp(code.trim());
        draw();
        openPanel("Recovery codes", h("p", {}, "Keep them where you keep passwords. Each works once instead of the app. They are shown this once:"),
          h("pre", { class: "secret" }, codes.join("\n")), copyButton(codes.join("\n")));
      });
    });
  }

  function turnOff() {
    openForm("Turn codes off", [current()], "Turn codes off", async ({ current_password: password }) => {
      await removeTotp(password);
      draw();
    });
  }

  draw();
  return { element, refresh: async () => {} };
}
