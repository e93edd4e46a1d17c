// The live feed, read by fetch (an EventSource cannot send a key), taken up again where it broke off.

import { request } from "./api.js";

const RETRY_MS = 2000;

export class LiveFeed extends EventTarget {
  #stop = new AbortController();
  #last = "";

  // Sends events `hello`, `tick`, `click`, `conversion` and `state` (connected or not).
  async run() {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#listen();
      } catch (error) {
        if (this.#stop.signal.aborted || error.status === 401 || error.status === 403) return;
      }
      this.#say("state", { connected: false });
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }

  close() {
    this.#stop.abort();
  }

  async #listen() {
    const headers = this.#last ? { "Last-Event-ID": this.#last } : {};
    const answer = await request("GET", "/v1/live", { headers, signal: this.#stop.signal });
    this.#say("state", { connected: true });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (text + value).split("\n\n");
      text = parts.pop();
      parts.forEach((part) => this.#take(part));
    }
  }

  #take(part) {
    const fields = Object.fromEntries(part.split("\n").map((line) => line.split(/: (.*)/s)));
    if (fields.id) this.#last = fields.id;
    if (fields.event) this.#say(fields.event, JSON.parse(fields.data));
  }

  #say(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
