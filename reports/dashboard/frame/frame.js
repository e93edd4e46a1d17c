// The frame: navigation, the bar of period, zone and currency, filters, and one view at a time.

import { choice, h, replace } from "../dom.js";
import { ago, time } from "../format.js";
import { LiveFeed } from "../live.js";
import { ZONES, address, change, currencies, filters, read, shared, withoutIdle, zone } from "../state.js";
import { FIRST, acts, has, names, titleOf } from "../views.js";
import { drawFilters } from "./filters.js";
import { onArrowKeys, periodPicker } from "./period.js";
import { problem } from "./problem.js";

const REFRESH_MS = 10_000;
const REFRESH_ANYWAY_MS = 30_000;

export class Frame {
  constructor(root, me) {
    this.me = me;
    this.feed = new LiveFeed();
    this.main = h("main", { id: "main", tabindex: "-1" });
    this.heading = h("h1", {});
    this.nav = h("nav", { class: "nav", "aria-label": "Views" });
    this.bar = h("div", { class: "bar", role: "group", "aria-label": "What is shown" });
    this.filters = h("div", { class: "filters" });
    this.fresh = h("div", { class: "fresh" });
    this.error = h("div", { class: "error", role: "alert" });
    this.loading = h("p", { class: "soft loading", role: "status" });
    this.body = h("div", { class: "view" });
    this.currency = null;
    this.known = [];
    this.asOf = null;
    this.lastEvent = null;
    this.undrawn = null;
    this.drawn = 0;
    this.view = null;
    // The address whose figures the view shows; null while it shows none.
    this.shown = null;
    this.rangeOpen = false;
    replace(this.main, h("div", { class: "head" }, this.heading, this.loading), this.filters, this.error, this.body);
    replace(root, h("div", { class: "shell" }, this.nav, h("div", { class: "side" }, this.bar, this.main)));
    this.closing = new AbortController();
    window.addEventListener("hashchange", () => { this.rangeOpen = false; this.go(); }, this.closing);
    window.addEventListener("keydown", (event) => { if (this.name && acts(this.name, "period")) onArrowKeys(event); }, this.closing);
    this.feed.addEventListener("tick", ({ detail }) => this.tick(detail));
    this.feed.addEventListener("hello", ({ detail }) => this.tick(detail));
    this.feed.run();
    this.timer = setInterval(() => this.tellFresh(), 1000);
    this.go();
  }

  close() {
    this.closing.abort();
    clearInterval(this.timer);
    this.stop?.abort();
    this.feed.close();
    this.view?.destroy?.();
  }

  async go() {
    const state = read();
    const name = has(state.view) ? state.view : FIRST;
    const idle = withoutIdle(name, state.params);
    if (idle) return location.replace(address(name, idle));
    const params = this.params = state.params;
    if (name !== this.name) this.leave(name);
    this.drawNav();
    this.drawBar();
    this.drawFilters();
    this.wait();
    try {
      const opening = this.view ? null : import(`../views/${name}.js`);
      await this.chooseCurrency();
      const module = await opening;
      if (this.params !== params) return;
      this.drawBar();
      if (module && !this.view) this.open(module);
    } catch (error) {
      if (this.params === params) this.fail(error);
      return;
    }
    await this.refresh();
  }

  leave(name) {
    this.view?.destroy?.();
    this.view = null;
    this.name = name;
    this.shown = null;
    document.title = `${titleOf(name)} · LinkJolt`;
    replace(this.heading, titleOf(name));
    replace(this.body);
    replace(this.error);
  }

  open(module) {
    this.view = module.open(this);
    replace(this.body, this.view.element);
  }

  // Says at once that figures are on their way: those on the page are of another question.
  wait() {
    this.stop?.abort();
    const stale = this.shown !== location.hash;
    this.body.classList.toggle("busy", stale);
    this.main.setAttribute("aria-busy", "true");
    if (stale) replace(this.loading, "Loading…");
  }

  async refresh() {
    if (!this.view) return;
    this.stop?.abort();
    const stop = this.stop = new AbortController();
    const asked = location.hash;
    this.drawn = Date.now();
    if (this.isComplete()) this.undrawn = null;
    try {
      if (!this.currency) {
        await this.chooseCurrency();
        if (this.currency) this.drawBar();
      }
      await this.view.refresh(stop.signal);
      if (this.stop !== stop) return;
      this.shown = asked;
      replace(this.error);
      this.settle();
    } catch (error) {
      if (this.stop === stop) this.fail(error);
    }
  }

  settle() {
    this.body.hidden = false;
    this.body.classList.remove("busy");
    this.main.removeAttribute("aria-busy");
    replace(this.loading);
  }

  // Shows an error; figures of another question than the address's are taken away.
  fail(error) {
    if (error.name === "AbortError") return;
    this.settle();
    const stale = this.shown !== location.hash;
    this.body.hidden = stale;
    replace(this.error, problem(error, stale || error.status === 0 ? () => this.go() : null));
  }

  async chooseCurrency() {
    if (!acts(this.name, "currency")) return;
    const asked = [this.params.get("from"), this.params.get("to"), zone(this.params), filters(this.params)].join();
    if (asked !== this.asked || !this.known.length) {
      this.asked = asked;
      this.knowing = currencies(this.params);
    }
    try {
      this.known = await this.knowing;
    } catch (error) {
      this.asked = null;
      throw error;
    }
    this.currency = this.params.get("cur") || this.known[0] || null;
  }

  drawNav() {
    replace(this.nav, h("p", { class: "brand" }, "LinkJolt"), h("ul", {}, names().map(([name, text]) =>
      h("li", {}, h("a", { href: address(name, shared(this.params, name)), "aria-current": name === this.name ? "page" : undefined }, text)))));
    const current = this.nav.querySelector("[aria-current]");
    const list = current?.closest("ul");
    if (list && list.scrollWidth > list.clientWidth) list.scrollLeft = current.offsetLeft - list.clientWidth / 2;
  }

  drawFilters() {
    if (acts(this.name, "filters")) drawFilters(this.filters, this);
    else replace(this.filters);
  }

  drawBar() {
    const does = (what) => acts(this.name, what);
    const at = zone(this.params);
    const known = [...new Set([...this.known, ...(this.currency ? [this.currency] : [])])];
    const redraw = ({ open = false } = {}) => { this.rangeOpen = open; this.drawBar(); if (open) this.bar.querySelector("input[name=from]")?.focus(); };
    replace(this.bar,
      does("period") ? periodPicker(this.params, redraw, { open: this.rangeOpen }) : null,
      does("compare") ? choice("Compare with", [["", "Nothing"], ["previous", "Previous period"], ["year", "Year before"]], this.params.get("cmp") === "none" ? "" : this.params.get("cmp") ?? "previous",
        (value) => change({ cmp: value || "none" })) : null,
      does("zone") ? choice("Time zone", ZONES.includes(at) ? ZONES : [at, ...ZONES], at, (value) => change({ tz: value })) : null,
      does("currency") ? choice("Currency", known.length ? known : [["", "none yet"]], this.currency ?? "", (value) => change({ cur: value })) : null,
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
    const idle = !this.main.hasAttribute("aria-busy");
    if (this.view?.auto && idle && document.visibilityState === "visible" && Date.now() - this.drawn > due) this.refresh();
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
