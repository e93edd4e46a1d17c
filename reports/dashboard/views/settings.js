// Whose key this is, the account's keys, people and clients, and what customers ask.

import { forgetKey, get, post, remove } from "../api.js";
import { copyButton, field, h, openForm, openPanel, replace } from "../dom.js";
import { time } from "../format.js";
import { zone } from "../state.js";
import { serverList } from "../frame/list.js";
import { session } from "../session.js";
import { tag } from "../table.js";
import { clients } from "./settings/clients.js";
import { customers } from "./settings/customers.js";
import { chosenScopes, scopeChecks } from "./settings/scopes.js";
import { people } from "./settings/users.js";

export function open(frame) {
  const { key, account } = frame.me;
  const box = h("div", {});
  const parts = [people(frame), clients(frame), customers(frame)];
  const leave = () => { forgetKey(); location.reload(); };
  const facts = [["Account", account], session() ? ["Person", `${key.name} (${session().user.role})`] : ["Key", `${key.name} (${key.hint})`], ["Scopes", key.scopes.join(", ")], ["Events", key.test ? "test" : "live"]];
  const element = h("div", {},
    h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, "This session"), session() ? h("a", { href: "#/you" }, "You") : h("button", { onclick: leave }, "Log out")),
      h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]).flat()),
      h("p", {}, h("a", { href: "/docs" }, "The API, route by route"))),
    h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, "API keys"), h("button", { class: "primary", needs: "keys:write", onclick: () => create() }, "New key")), box),
    parts.map((part) => part.element));

  const manages = ["admin", "keys:write"].some((scope) => key.scopes.includes(scope));
  const list = serverList(frame, {
    caption: "API keys", search: "Name, hint or id", none: "No key.",
    sorts: [["name", "Name"], ["-name", "Name, from the end"], ["-created_at", "Newest first"], ["created_at", "Oldest first"]],
    load: (asked, signal) => get("/v1/keys", asked, signal),
    columns: () => {
      const at = zone(frame.params);
      return [
        ["name", "Name", (one) => [one.name, one.test ? [" ", tag("test")] : null].flat(), false, "name"],
        ["hint", "Key", (one) => h("code", {}, one.hint)],
        ["scopes", "Scopes", (one) => one.scopes.join(", ")],
        ["limits", "Only", (one) => [one.campaign_id, one.affiliate_id, ...one.allowed_networks].filter(Boolean).join(", ")],
        ["used", "Last used", (one) => (one.last_used_at ? time(one.last_used_at, at) : "never")],
        ["made", "Made", (one) => time(one.created_at, at), false, "created_at"],
        ["ends", "Expires", (one) => (one.expires_at ? time(one.expires_at, at) : "never")],
        ["old", "Old secrets", (one) => one.old_secrets.map((old) => `${old.hint} until ${time(old.expires_at, at)}`).join(", ")],
        ["revoke", "", (one) => h("button", { onclick: () => revoke(one) }, "Revoke")],
      ];
    },
  });
  replace(box, manages ? list.element : h("p", { class: "soft" }, "Managing keys needs the scope keys:write, which this key lacks."));

  const refresh = async (signal) => { await Promise.all([...parts.map((part) => part.refresh(signal)), manages ? list.refresh(signal) : null]); };

  function revoke(one) {
    openForm(`Revoke ${one.name}?`, [h("p", {}, "Whoever uses it is refused within a second. This cannot be undone.")], "Revoke", async () => {
      await remove(`/v1/keys/${one.id}`);
      await frame.refresh();
    });
  }

  function create() {
    openForm("New key", [
      field("Name", { name: "name", required: true, maxlength: 200 }),
      scopeChecks(),
      h("label", {}, h("input", { type: "checkbox", name: "test" }), " Test key: what is posted with it stays out of reports"),
    ], "Make the key", async (form) => {
      const made = await post("/v1/keys", { name: form.name, scopes: chosenScopes(form), test: Boolean(form.test) });
      await frame.refresh();
      openPanel("The new key", h("p", {}, "It is shown this once:"), h("pre", { class: "secret" }, made.key), copyButton(made.key));
    });
  }

  return { element, refresh };
}
