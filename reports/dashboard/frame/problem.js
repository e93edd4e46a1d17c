// Errors in people's words, with the code and the request's id behind them.

import { h } from "../dom.js";

const WORDS = {
  unreachable: "The server cannot be reached. It may be restarting; check your connection and try again.",
  unavailable: "The server cannot answer this now. Try again in a moment.",
  too_many_requests: "Too much is being asked for at once. Try again in a moment.",
};
const FIELDS = { from: "The start of the period", to: "The end of the period", timezone: "The time zone", q: "The search text" };

function sentence(error) {
  const [first] = error.errors ?? [];
  const known = WORDS[error.code] ?? (error.status === 429 ? WORDS.too_many_requests : null);
  if (known) return known;
  if (first && FIELDS[first.field]) return `${FIELDS[first.field]} ${first.message.replaceAll("`from`", "its start").replaceAll("`", "")}.`;
  return error.sentence ?? error.message;
}

export function problem(error, again) {
  const detail = error.code ? [error.code, error.requestId ? `request ${error.requestId}` : ""].filter(Boolean).join(", ") : "";
  return [h("span", {}, sentence(error)), detail ? h("small", {}, ` (${detail})`) : null,
    again ? [" ", h("button", { type: "button", onclick: again }, "Try again")] : null];
}
