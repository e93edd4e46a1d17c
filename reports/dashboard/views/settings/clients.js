// OAuth clients of the account, as a part of Settings.

import { get, post, remove } from "../../api.js";
import { copyButton, field, h, openForm, openPanel, replace } from "../../dom.js";
import { time } from "../../format.js";
import { may } from "../../may.js";
import { zone } from "../../state.js";
import { table, tag } from "../../table.js";
import { chosenScopes, scopeChecks } from "./scopes.js";

// A section of the clients, and a function that reads them anew.
export function clients(frame) {
  const box = h("div", {});
  const element = h("section", { class: "panel", "aria-label": "OAuth clients" },
    h("div", { class: "head" }, h("h2", {}, "OAuth clients"), h("button", { class: "primary", needs: "keys:write", onclick: () => create() }, "New client")), box);

  async function refresh(signal) {
    if (!may("keys:write")) return replace(box, h("p", { class: "soft" }, "Managing OAuth clients needs the scope keys:write, which you lack."));
    const { data } = await get("/v1/oauth-clients", { limit: 1000 }, signal);
    const at = zone(frame.params);
    return replace(box, table({
      caption: "Programs that fetch tokens of an hour",
      rows: data,
      empty: "No client. A program can use a key instead.",
      columns: [
        ["name", "Name", (one) => [one.name, one.test ? [" ", tag("test")] : null].flat()],
        ["id", "Client id", (one) => h("code", {}, one.client_id)],
        ["hint", "Secret", (one) => h("code", {}, one.hint)],
        ["scopes", "Scopes", (one) => one.scopes.join(", ")],
        ["made", "Made", (one) => time(one.created_at, at)],
        ["ends", "Expires", (one) => (one.expires_at ? time(one.expires_at, at) : "never")],
        ["delete", "", (one) => h("button", { onclick: () => end(one), "aria-label": `Delete ${one.name}` }, "Delete")],
      ],
    }));
  }

  function create() {
    openForm("New OAuth client", [field("Name", { name: "name", required: true, maxlength: 200 }), scopeChecks()], "Make the client", async (form) => {
      const made = await post("/v1/oauth-clients", { name: form.name, scopes: chosenScopes(form) });
      await refresh();
      openPanel("The new client", h("p", {}, "Its id is ", h("code", {}, made.client_id), ". The secret is shown this once:"),
        h("pre", { class: "secret" }, made.client_secret), copyButton(made.client_secret));
    });
  }

  function end(one) {
    openForm(`Delete ${one.name}?`, [h("p", {}, "All its tokens are refused within a second. This cannot be undone.")], "Delete", async () => {
      await remove(`/v1/oauth-clients/${one.id}`);
      await refresh();
    });
  }

  return { element, refresh };
}
