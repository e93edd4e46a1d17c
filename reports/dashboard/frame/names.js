// Names of campaigns, affiliates and links, found and searched on the server.

import { get } from "../api.js";
import { DIMENSIONS, REASONS, known as learnt } from "../format.js";
import { reportParams } from "../state.js";

const PATHS = { campaign: "/v1/campaigns", affiliate: "/v1/affiliates", link: "/v1/links" };
const TITLES = { campaign: "name", affiliate: "name", link: "tracking_code" };
const FOUND = 20;
const VALUES = 200;

// The text of one value of a dimension, as far as it is known by now.
export function textOf(dimension, value) {
  if (value === "") return "(none)";
  if (dimension === "verdict_reason") return REASONS[value] ?? value;
  return learnt.get(value) ?? value;
}

// Asks for the names of the ids that are not known yet; those of no entry stay ids.
export async function learn(dimension, ids) {
  if (dimension !== "campaign" && dimension !== "affiliate") return;
  const asked = ids.filter((id) => id && !learnt.has(id));
  if (!asked.length) return;
  const found = await get(PATHS[dimension], { id: asked.join(","), limit: 1000 }).catch(() => reported(dimension, asked));
  found.data.forEach((one) => learnt.set(one.id, one.name));
}

// A key that may not read the registry gets the names from reports.
async function reported(dimension, ids) {
  const { data } = await get("/v1/reports", { from: "2000-01-01", [dimension]: ids.join(","), group_by: dimension, metrics: "clicks", limit: 1000 })
    .catch(() => ({ data: [] }));
  return { data: data.map((row) => ({ id: row[dimension], name: row[`${dimension}_name`] ?? row[dimension] })) };
}

export const idsOf = (value) => value.split(",").map((one) => one.replace(/^-/, ""));

// Known values of a dimension with this text, as [value, text]; those of the period beyond names.
export async function search(dimension, text, frame, signal) {
  if (PATHS[dimension]) {
    try {
      const found = await get(PATHS[dimension], { q: text, limit: FOUND, sort: TITLES[dimension] }, signal);
      return found.data.map((one) => (dimension === "link" ? [one.tracking_code, one.tracking_code] : [one.id, one.name]));
    } catch (error) {
      if (error.status !== 403) throw error;
    }
  }
  const metric = ["event", "status"].includes(dimension) ? "conversions" : "clicks";
  const asked = { ...reportParams(frame.params), group_by: dimension, metrics: metric, sort: `-${metric}`, limit: VALUES };
  delete asked[dimension];
  const { data } = await get("/v1/reports", asked, signal);
  const sought = text.toLowerCase();
  return data.filter((row) => row[dimension] !== null)
    .map((row) => [row[dimension], PATHS[dimension] ? row[`${dimension}_name`] ?? row[dimension] : textOf(dimension, row[dimension])])
    .filter(([value, shown]) => `${value} ${shown}`.toLowerCase().includes(sought)).slice(0, FOUND);
}

// The ids of the links with these tracking codes, as a list takes them.
export async function linkIds(codes, signal) {
  const found = await Promise.all(codes.map((code) => get(PATHS.link, { q: code, limit: 1000 }, signal)));
  const ids = found.flatMap(({ data }, index) => data.filter((one) => one.tracking_code === codes[index]).map((one) => one.id));
  return ids.length ? ids.join(",") : null;
}

export const label = (dimension) => DIMENSIONS[dimension] ?? dimension;
