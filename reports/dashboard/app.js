// The frame: login, navigation, the bar of period, zone and currency, and one view at a time.

import { forgetKey, get, keepKey, key } from "./api.js";
import { choice, h, replace } from "./dom.js";
import { ago, time } from "./format.js";
import { LiveFeed } from "./live.js";
import { PRESETS, ZONES, address, change, currencies, read, shared, zone } from "./state.js";

const VIEWS = {
  overview: "Overview", live: "Live", builder: "Report builder", links: "Links", conversions: "Conversions",
  affiliates: "Affiliates", quality: "Quality", pipeline: "Pipeline", webhooks: "Webhooks", settings: "Settings",
};
const REFRESH_MS = 10_000;
const REFRESH_ANYWAY_MS = 30_000;
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

class Frame {
  constructor(me) {
    this.me = me;
    this.feed = new LiveFeed();
    this.main = h("main", { id: "main", tabindex: "-1" });
    this.nav = h("nav", { class: "nav", "aria-label": "Views" });
    this.bar = h("div", { class: "bar", role: "group", "aria-label": "Period, time zone and currency" });
    this.fresh = h("div", { class: "fresh" });
    this.error = h("div", { class: "error", role: "alert" });
    this.currency = null;
    this.known = [];
    this.asOf = null;
    this.lastEvent = null;
    this.undrawn = null;
    this.drawn = 0;
    this.view = null;
    replace(root, h("div", { class: "shell" }, this.nav, h("div", { class: "side" }, this.bar, this.main)));
    this.moved = () => this.go();
    window.addEventListener("hashchange", this.moved);
    this.feed.addEventListener("tick", ({ detail }) => this.tick(detail));
    this.feed.addEventListener("hello", ({ detail }) => this.tick(detail));
    this.feed.run();
    this.timer = setInterval(() => this.tellFresh(), 1000);
    this.go();
  }

  close() {
    window.removeEventListener("hashchange", this.moved);
    clearInterval(this.timer);
    this.feed.close();
    this.view?.destroy?.();
  }

  async go() {
    const state = read();
    const name = VIEWS[state.view] ? state.view : "overview";
    const same = this.view && this.name === name;
    this.params = state.params;
    this.drawNav(name);
    try {
      const opening = same ? null : import(`./views/${name}.js`);
      await this.chooseCurrency();
      if (this.params !== state.params) return;
      this.drawBar();
      if (opening) this.open(name, await opening);
      await this.refresh();
    } catch (error) {
      this.fail(error);
    }
  }

  open(name, module) {
    this.view?.destroy?.();
    this.name = name;
    this.view = module.open(this);
    document.title = `${VIEWS[name]} · LinkJolt`;
    replace(this.main, h("div", { class: "head" }, h("h1", {}, VIEWS[name])), this.error, this.view.element);
  }

  async refresh() {
    if (!this.view) return;
    this.stop?.abort();
    this.stop = new AbortController();
    this.drawn = Date.now();
    if (this.isComplete()) this.undrawn = null;
    try {
      if (!this.currency) {
        await this.chooseCurrency();
        if (this.currency) this.drawBar();
      }
      await this.view.refresh(this.stop.signal);
      replace(this.error);
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error) {
    if (error.name === "AbortError") return;
    replace(this.error, error.message);
    if (!this.error.isConnected) this.main.prepend(this.error);
  }

  async chooseCurrency() {
    const asked = [this.params.get("from"), this.params.get("to"), zone(this.params)].join();
    if (asked !== this.asked || !this.known.length) {
      this.asked = asked;
      this.knowing = currencies(this.params);
    }
    this.known = await this.knowing;
    this.currency = this.params.get("cur") || this.known[0] || null;
  }

  drawNav(current) {
    const kept = shared(this.params);
    replace(this.nav, h("p", { class: "brand" }, "LinkJolt"), h("ul", {}, Object.entries(VIEWS).map(([name, text]) =>
      h("li", {}, h("a", { href: address(name, kept), "aria-current": name === current ? "page" : undefined }, text)))));
  }

  drawBar() {
    const from = this.params.get("from") || "24h";
    const custom = !PRESETS.some(([name]) => name === from);
    const day = (value) => (value ?? new Date().toISOString()).slice(0, 10);
    const pick = (value) => change(value === "custom"
      ? { from: day(new Date(Date.now() - 6 * 86_400_000).toISOString()), to: day(new Date(Date.now() + 86_400_000).toISOString()) }
      : { from: value, to: null });
    const known = [...new Set([...this.known, ...(this.currency ? [this.currency] : [])])];
    replace(this.bar,
      choice("Period", [...PRESETS, ["custom", "Custom"]], custom ? "custom" : from, pick),
      custom ? h("label", {}, "From", h("input", { type: "date", value: day(from), onchange: (event) => change({ from: event.target.value }) })) : null,
      custom ? h("label", {}, "To (not included)", h("input", { type: "date", value: day(this.params.get("to")), onchange: (event) => change({ to: event.target.value }) })) : null,
      choice("Compare with", [["", "Nothing"], ["previous", "Previous period"], ["year", "Year before"]], this.params.get("cmp") ?? "previous",
        (value) => change({ cmp: value || "none" })),
      choice("Time zone", ZONES.includes(zone(this.params)) ? ZONES : [zone(this.params), ...ZONES], zone(this.params), (value) => change({ tz: value })),
      choice("Currency", known.length ? known : [["", "none yet"]], this.currency ?? "", (value) => change({ cur: value })),
      this.fresh);
    this.tellFresh();
  }

  // The comparison that is asked for; `previous` unless the address says otherwise.
  get compare() {
    const wanted = this.params.get("cmp") ?? "previous";
    return wanted === "none" || wanted === "" ? null : wanted;
  }

  tick(detail) {
    this.asOf = detail.data_as_of;
    if (detail.seconds.length) {
      this.lastEvent = Date.now();
      this.undrawn = detail.seconds.at(-1)[0] * 1000;
    }
    this.tellFresh();
    const wait = this.view?.live?.() ?? 0;
    const due = detail.seconds.length || this.isComplete() ? (wait || REFRESH_MS) : REFRESH_ANYWAY_MS;
    if (this.view?.auto && document.visibilityState === "visible" && Date.now() - this.drawn > due) this.refresh();
  }

  // Whether reports are complete up to events that no refresh has shown for sure: they follow the feed.
  isComplete() {
    return this.undrawn !== null && this.asOf !== null && Date.parse(this.asOf) > this.undrawn + 1000;
  }

  tellFresh() {
    const behind = this.asOf ? (Date.now() - Date.parse(this.asOf)) / 1000 : null;
    const last = this.lastEvent ? `last event stored ${ago((Date.now() - this.lastEvent) / 1000)} ago` : "no event since this page was opened";
    replace(this.fresh, h("div", {}, behind === null ? "Freshness not known yet" : `Complete up to ${ago(behind)} ago`),
      h("div", { title: this.asOf ? time(this.asOf, zone(this.params)) : undefined }, last));
  }
}

let frame = null;

async function start() {
  const me = await get("/v1/me");
  frame?.close();
  frame = new Frame(me);
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
