// The API of this origin, called with an API key, or by the session of a person.

const KEY = "linkjolt.key";

export class ApiError extends Error {
  constructor(problem, status) {
    const fields = (problem.errors ?? []).map((one) => `${one.field} ${one.message}`).join("; ");
    const id = problem.request_id ? `, request ${problem.request_id}` : "";
    const sentence = fields || problem.detail || "The request failed";
    super(`${sentence} (${problem.code ?? status}${id})`);
    this.sentence = problem.detail || sentence;
    this.errors = problem.errors ?? [];
    this.code = problem.code ?? String(status);
    this.requestId = problem.request_id;
    this.status = status;
  }
}

export const key = () => sessionStorage.getItem(KEY);
export const keepKey = (secret) => sessionStorage.setItem(KEY, secret);
export const forgetKey = () => sessionStorage.removeItem(KEY);

// Pages of other sites cannot read the token that changes need beside the session's cookie.
let token = null;
const credentials = (method) => (key() ? { Authorization: `Bearer ${key()}` } : method !== "GET" && token ? { "X-CSRF-Token": token } : {});

export async function request(method, path, { params, body, signal, headers } = {}, again = false) {
  const query = new URLSearchParams(params ?? {}).toString();
  let answer;
  try {
    answer = await fetch(path + (query ? `?${query}` : ""), {
      method,
      signal,
      headers: {
        ...credentials(method),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ detail: "The server cannot be reached", code: "unreachable" }, 0);
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 403 && !key() && !again && problem.detail?.startsWith("Send X-CSRF-Token")) {
    // Another tab has signed in since: this one asks for its token.
    await get("/v1/session");
    return request(method, path, { params, body, signal, headers }, true);
  }
  const error = new ApiError(problem, answer.status);
  if (answer.status === 401) window.dispatchEvent(new CustomEvent("linkjolt:logout", { detail: error.message }));
  throw error;
}

async function json(method, path, options) {
  const answer = await request(method, path, options);
  if (answer.status === 204) return null;
  const found = await answer.json();
  token = found.csrf_token ?? token;
  return found;
}

export const get = (path, params, signal) => json("GET", path, { params, signal });
export const post = (path, body) => json("POST", path, { body });
export const patch = (path, body) => json("PATCH", path, { body });
export const remove = (path) => json("DELETE", path);

export async function save(path, params, name) {
  const answer = await request("GET", path, { params });
  const url = URL.createObjectURL(await answer.blob());
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  URL.revokeObjectURL(url);
}
