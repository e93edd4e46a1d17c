// Webhooks: endpoints, what was delivered and what came of it, again, and a test.

import { get, post } from "../api.js";
import { choice, field, h, openForm, openPanel, replace } from "../dom.js";
import { time } from "../format.js";
import { serverList } from "../frame/list.js";
import { change, zone } from "../state.js";
import { table, tag } from "../table.js";

const EVENTS = [
  ...["created", "approved", "rejected", "refunded", "reinstated", "restated", "attributed", "paid", "unpaid"].map((what) => `conversion.${what}`),
  "click.created",
];

const SORTS = [["created_at", "Oldest first"], ["-created_at", "Newest first"], ["url", "URL"], ["-url", "URL, from the end"]];

export function open(frame) {
  const log = h("section", { class: "panel" });
  const status = h("span", {});
  let hooks = [];
  const list = serverList(frame, {
    caption: "Webhooks", search: "URL or id", sorts: SORTS, none: "No webhook yet.",
    tools: [status, h("button", { needs: "webhooks:write", type: "button", class: "primary", onclick: () => create() }, "New webhook")],
    load: async (asked, signal) => {
      const state = frame.params.get("status");
      const page = await get("/v1/webhooks", { ...asked, ...(state ? { status: state } : {}) }, signal);
      hooks = page.data;
      return page;
    },
    columns: () => [
      ["url", "URL", (one) => h("button", { class: "link", onclick: () => change({ hook: one.id }) }, one.url), false, "url"],
      ["events", "Events", (one) => one.events.join(", ")],
      ["status", "Status", (one) => [tag(one.status), one.disabled_reason ? ` ${one.disabled_reason}` : ""]],
      ["made", "Made", (one) => time(one.created_at, zone(frame.params), { dateStyle: "medium" }), false, "created_at"],
      ["test", "", (one) => h("button", { needs: "webhooks:write", onclick: () => act(() => post(`/v1/webhooks/${one.id}/test`, undefined)) }, "Send a test")],
    ],
  });
  const element = h("div", {}, h("section", { class: "panel" }, list.element), log);

  async function refresh(signal) {
    replace(status, choice("Status", [["", "Any"], "active", "disabled"], frame.params.get("status") ?? "", (value) => change({ status: value })));
    await list.refresh(signal);
    const wanted = frame.params.get("hook");
    const chosen = hooks.find((one) => one.id === wanted) ?? (wanted ? await get(`/v1/webhooks/${wanted}`, {}, signal) : hooks[0]);
    if (!chosen) return replace(log, h("h2", {}, "Deliveries"), h("p", { class: "soft" }, "They show here once there is a webhook."));
    const page = await get(`/v1/webhooks/${chosen.id}/deliveries`, { limit: 50 }, signal);
    return drawLog(chosen, page.data);
  }

  async function act(what) {
    try {
      await what();
      await frame.refresh();
    } catch (error) {
      frame.fail(error);
    }
  }

  function drawLog(hook, rows) {
    const at = zone(frame.params);
    replace(log, h("div", { class: "head" }, h("h2", {}, "Deliveries"), h("button", { onclick: () => frame.refresh() }, "Look again")), table({
      caption: `To ${hook.url}, the newest first`,
      rows,
      empty: "Nothing was sent yet.",
      columns: [
        ["time", "Event at", (one) => time(one.event_at, at)],
        ["event", "Event", (one) => h("button", { class: "link", onclick: () => show(one) }, one.event)],
        ["state", "State", (one) => tag(one.state)],
        ["tries", "Tries", (one) => String(one.tries.length), true],
        ["last", "Last answer", (one) => { const last = one.tries.at(-1); return last ? (last.status ?? last.error) : "–"; }],
        ["again", "", (one) => h("button", { needs: "webhooks:write", onclick: () => act(() => post(`/v1/webhooks/${hook.id}/deliveries/${one.webhook_id}/resend`, undefined)) }, "Send again")],
      ],
    }));
  }

  function show(one) {
    const at = zone(frame.params);
    openPanel(one.event, h("p", {}, h("code", {}, one.webhook_id)), h("pre", {}, one.body ? JSON.stringify(JSON.parse(one.body), null, 2) : "The click is no longer stored."), table({
      caption: "Tries",
      rows: one.tries,
      empty: "Not tried yet.",
      columns: [["at", "At", (attempt) => time(attempt.at, at)], ["took", "Took", (attempt) => `${attempt.took_ms} ms`, true],
        ["status", "Answer", (attempt) => `${attempt.status ?? attempt.error} ${attempt.answer}`]],
    }));
  }

  function create() {
    openForm("New webhook", [
      field("URL", { name: "url", type: "url", required: true }),
      h("fieldset", { class: "checks" }, h("legend", {}, "Events"), EVENTS.map((name) => h("label", {}, h("input", { type: "checkbox", name, checked: name === EVENTS[0] }), name))),
    ], "Make the webhook", async (form) => {
      const made = await post("/v1/webhooks", { url: form.url, events: EVENTS.filter((name) => form[name]) });
      await frame.refresh();
      openPanel("Signing secret", h("p", {}, "It is shown this once:"), h("pre", {}, made.secret));
    });
  }

  return { element, refresh };
}
