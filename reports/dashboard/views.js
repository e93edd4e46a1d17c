// The views: one line registers one, and `views/{name}.js` draws it.
//
// `view(name, title, acts)`: `acts` names what of the frame acts in the view, by spaces: `period`,
// `compare`, `zone`, `currency` of the bar, and `filters`. What does not act is not shown there, and
// filters that do not act are taken out of the address. The module has `open(frame)`, which returns
// `{ element, refresh(signal) }` and, as needed, `destroy()`, `auto` (refreshed as events are stored)
// and `live()` (milliseconds between two such refreshes). `needs` is the scope without which it shows
// nothing: who lacks it does not find the view in the menu.

import { may } from "./may.js";

const views = new Map();
const view = (name, title, acts, { without = [], needs } = {}) => views.set(name, { title, acts: acts.split(" ").filter(Boolean), without, needs });

view("overview", "Overview", "period compare zone currency filters");
view("live", "Live", "zone");
view("builder", "Report builder", "period compare zone currency filters");
view("links", "Links", "period zone currency filters", { needs: "links:read" });
view("conversions", "Conversions", "period zone filters", { without: ["verdict_reason"] });
view("affiliates", "Affiliates", "period zone currency filters", { needs: "links:read" });
view("quality", "Quality", "period zone filters");
view("pipeline", "Pipeline", "zone");
view("webhooks", "Webhooks", "zone", { needs: "webhooks:write" });
view("audit", "Audit log", "zone", { needs: "audit:read" });
view("settings", "Settings", "zone");
view("you", "You", "");

export const FIRST = "overview";
export const names = () => [...views].filter(([, { needs }]) => !needs || may(needs)).map(([name, { title }]) => [name, title]);
export const has = (name) => views.has(name);
export const titleOf = (name) => views.get(name).title;
export const acts = (name, what) => views.get(name).acts.includes(what);
export const takesFilter = (name, dimension) => acts(name, "filters") && !views.get(name).without.includes(dimension);
