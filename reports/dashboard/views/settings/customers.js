// Requests of customers for what is stored about them, as a part of Settings.

import { get, post, save } from "../../api.js";
import { choice, field, h, openForm, replace } from "../../dom.js";
import { time, whole } from "../../format.js";
import { may } from "../../may.js";
import { zone } from "../../state.js";
import { table, tag } from "../../table.js";

const KINDS = [["exports", "Export what is stored"], ["erasures", "Erase what is stored"]];

// A section of the requests, and a function that reads them anew.
export function customers(frame) {
  const box = h("div", {});
  const element = h("section", { class: "panel", "aria-label": "Customers' requests" },
    h("div", { class: "head" }, h("h2", {}, "Customers' requests"), h("button", { class: "primary", needs: "privacy:write", onclick: () => ask() }, "New request")), box);

  async function refresh(signal) {
    if (!may("privacy:write")) return replace(box, h("p", { class: "soft" }, "Erasing and exporting needs the scope privacy:write, which you lack."));
    const { data } = await get("/v1/privacy/jobs", { limit: 1000 }, signal);
    const at = zone(frame.params);
    return replace(box, table({
      caption: "Erasures and exports",
      rows: data,
      empty: "None yet.",
      columns: [
        ["id", "Request", (one) => h("code", {}, one.id)],
        ["kind", "Kind", (one) => one.kind],
        ["state", "State", (one) => tag(one.state)],
        ["asked", "Asked", (one) => time(one.requested_at, at)],
        ["done", "Done", (one) => (one.finished_at ? time(one.finished_at, at) : "not yet")],
        ["found", "Conversions", (one) => whole(one.report.conversions), true],
        ["data", "", (one) => (one.kind === "export" && one.state === "done" ? h("button", { onclick: () => take(one) }, "Save") : null)],
      ],
    }));
  }

  function take(one) {
    save(`/v1/privacy/jobs/${one.id}/data`, {}, `linkjolt-${one.id}.json`).catch((error) => frame.fail(error));
  }

  function ask() {
    let kind = KINDS[0][0];
    openForm("A customer's request", [
      choice("What", KINDS, kind, (chosen) => { kind = chosen; }),
      field("Customer's e-mail address", { name: "customer_email", type: "email", maxlength: 320 }),
      field("Customer's id", { name: "customer_id", maxlength: 128 }),
      h("p", { class: "soft" }, "An erasure cannot be undone. Orders and sums stay; they name nobody."),
    ], "Start", async (form) => {
      await post(`/v1/privacy/${kind}`, { customer_email: form.customer_email || null, customer_id: form.customer_id || null });
      await refresh();
    });
  }

  return { element, refresh };
}
