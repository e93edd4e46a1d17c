// The people of the account, as a part of Settings.

import { get, patch, post, remove } from "../../api.js";
import { copyButton, field, h, openForm, openPanel, replace } from "../../dom.js";
import { time } from "../../format.js";
import { may } from "../../may.js";
import { zone } from "../../state.js";
import { table, tag } from "../../table.js";

const ROLES = [["viewer", "Viewer: reads"], ["finance", "Finance: reports, events, payouts"],
  ["manager", "Manager: all but keys, people and payouts"], ["owner", "Owner: everything"]];

// A section of the people, and a function that reads them anew.
export function people(frame) {
  const box = h("div", {});
  const element = h("section", { class: "panel", "aria-label": "People" },
    h("div", { class: "head" }, h("h2", {}, "People"), h("button", { class: "primary", needs: "account:write", onclick: () => invite() }, "Invite")), box);
  const role = (chosen) => h("label", {}, "Role", h("select", { name: "role" }, ROLES.map(([value, text]) => h("option", { value, selected: value === chosen }, text))));
  const showLink = (title, link) => openPanel(title, h("p", {}, "Send this link to the person. It works once, and is shown this once:"),
    h("pre", { class: "secret" }, link), copyButton(link));

  async function refresh(signal) {
    if (!may("account:write")) return replace(box, h("p", { class: "soft" }, "Managing people needs the scope account:write, which you lack."));
    const { data } = await get("/v1/users", { limit: 1000 }, signal);
    return replace(box, table({
      caption: "People who sign in",
      rows: data,
      empty: "Nobody yet.",
      columns: [
        ["name", "Name", (one) => one.name],
        ["email", "E-mail address", (one) => one.email ?? "none yet"],
        ["role", "Role", (one) => one.role],
        ["status", "Status", (one) => [tag(one.status), one.two_factor ? [" ", tag("two factors")] : null].flat()],
        ["signed_in_at", "Signed in", (one) => (one.signed_in_at ? time(one.signed_in_at, zone(frame.params)) : "never")],
        ["change", "", (one) => h("button", { onclick: () => change(one), "aria-label": `Change ${one.name}` }, "Change")],
        ["link", "", (one) => h("button", { onclick: () => reset(one), "aria-label": `New link for ${one.name}` }, "New link")],
        ["remove", "", (one) => h("button", { onclick: () => leave(one), "aria-label": `Remove ${one.name}` }, "Remove")],
      ],
    }));
  }

  function invite() {
    openForm("Invite a person", [
      field("Name", { name: "name", required: true, maxlength: 200 }),
      field("E-mail address", { name: "email", type: "email", required: true }), role("viewer"),
    ], "Make the link", async (form) => {
      const made = await post("/v1/users", form);
      await refresh();
      showLink(`Invitation of ${made.name}`, made.link);
    });
  }

  function change(one) {
    const status = h("label", {}, "Status", h("select", { name: "status" }, ["active", "disabled"].map((value) =>
      h("option", { value, selected: value === (one.status === "disabled" ? "disabled" : "active") }, value))));
    openForm(`Change ${one.name}`, [field("Name", { name: "name", required: true, maxlength: 200, value: one.name }), role(one.role), status,
      h("p", { class: "soft" }, "Another role or status ends the person's sessions.")], "Save", async (form) => {
      await patch(`/v1/users/${one.id}`, form);
      await refresh();
    });
  }

  function reset(one) {
    openForm(`A new link for ${one.name}`, [
      h("p", {}, "The person sets a new password by it; the present one works until then."),
      one.two_factor ? h("label", {}, h("input", { type: "checkbox", name: "remove" }), " Turn codes off, for the app is lost") : null,
    ], "Make the link", async (form) => {
      const made = await post(`/v1/users/${one.id}/link`, { remove_two_factor: Boolean(form.remove) });
      showLink(`Link for ${one.name}`, made.link);
    });
  }

  function leave(one) {
    openForm(`Remove ${one.name}?`, [h("p", {}, "All sessions of the person end at once. Keys that the person made stay.")], "Remove", async () => {
      await remove(`/v1/users/${one.id}`);
      await refresh();
    });
  }

  return { element, refresh };
}
