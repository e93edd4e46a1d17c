// The person who has signed in. The session itself is in a cookie that no script can read.

import { get, patch, post, remove } from "./api.js";

// That somebody signed in here: without it nothing is asked that would be refused.
const SIGNED_IN = "linkjolt.signedIn";

let current = null;

export const session = () => current;
export const isRemembered = () => localStorage.getItem(SIGNED_IN) !== null;

function keep(answer) {
  current = answer;
  localStorage.setItem(SIGNED_IN, "1");
  return answer;
}

export function forget() {
  current = null;
  localStorage.removeItem(SIGNED_IN);
}

export const load = async () => keep(await get("/v1/session"));
export const signIn = async (credentials) => keep(await post("/v1/session", credentials));
export const useLink = async (form) => keep(await post("/v1/session/link", form));
export const changeUser = async (changes) => keep(await patch("/v1/session/user", changes));
export const startTotp = (password) => post("/v1/session/totp", { current_password: password });
export const confirmTotp = async (code) => keep(await post("/v1/session/totp/confirm", { code }));
export const removeTotp = async (password) => keep(await post("/v1/session/totp/remove", { current_password: password }));

export async function signOut({ everywhere = false } = {}) {
  await remove(everywhere ? "/v1/sessions" : "/v1/session");
  forget();
}
