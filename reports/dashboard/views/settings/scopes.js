// The scopes of keys and clients as a form offers them.

import { h } from "../../dom.js";

const SCOPES = ["reports:read", "events:read", "links:read", "links:write", "conversions:write", "payouts:write", "postback", "webhooks:write",
  "rates:write", "keys:write", "account:write", "audit:read", "privacy:write", "admin"];

export const scopeChecks = () => h("fieldset", { class: "checks" }, h("legend", {}, "Scopes"),
  SCOPES.map((name) => h("label", {}, h("input", { type: "checkbox", name: `scope ${name}`, checked: name === SCOPES[0] }), name)));

export const chosenScopes = (form) => SCOPES.filter((name) => form[`scope ${name}`]);
