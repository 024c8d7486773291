/** Tells people how the service is: starting, out of reach, or running on the demo model. */

import { ApiError, getReadiness } from "./api.js";
import { button, byId, element, icon } from "./dom.js";

const STEADY_S = 30;
const TROUBLED_S = 3;

/** @type {Record<string, string>} */
const NAMES = {
  database: "the database",
  storage: "the object store",
  vectors: "the vector index",
  queue: "the queue",
  embedder: "the model",
};

/** Event: `recovered` when the service is ready after it was not. */
export class ReadinessWatch extends EventTarget {
  #banner = byId("banner");
  #model = byId("model");
  #wasReady = true;
  #demoSeen = false;
  #shown = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  start() {
    addEventListener("online", () => this.#check());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) void this.#check();
    });
    void this.#check();
  }

  async #check() {
    clearTimeout(this.#timer);
    let ready = false;
    try {
      const readiness = await getReadiness();
      ready = readiness.ready;
      this.#show(readiness);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#showTrouble("The service can’t be reached.", ["Trying again by itself."]);
    }
    if (ready && !this.#wasReady) this.dispatchEvent(new CustomEvent("recovered"));
    this.#wasReady = ready;
    if (!document.hidden) this.#timer = setTimeout(() => this.#check(), 1000 * (ready ? STEADY_S : TROUBLED_S));
  }

  /** @param {import("./api.js").Readiness} readiness */
  #show({ ready, dependencies, model, demo }) {
    this.#model.textContent = model ?? "";
    if (!ready) {
      const down = dependencies.filter((dependency) => dependency.needed && !dependency.ok);
      const lines = down.map(({ name, detail }) => `Waiting for ${NAMES[name] ?? name}${detail ? `: ${detail}` : ""}`);
      this.#showTrouble("The service is not ready yet.", lines);
    } else if (demo && !this.#demoSeen) {
      this.#showDemo();
    } else {
      this.#banner.hidden = true;
      this.#shown = "";
    }
  }

  /** @param {string} title @param {string[]} lines */
  #showTrouble(title, lines) {
    this.#draw("trouble", "alert", title, lines);
  }

  #showDemo() {
    this.#draw(
      "demo",
      "info",
      "This is the small built-in demo model: it knows drawn coloured shapes, not photographs.",
      ["Try “a red circle on a blue background”. To search photographs, start the service with a full model."],
    );
    const dismiss = () => {
      this.#demoSeen = true;
      this.#banner.hidden = true;
    };
    if (this.#banner.childElementCount < 3) {
      this.#banner.append(button({ icon: "close", label: "Dismiss", class: "round", onclick: dismiss }));
    }
  }

  /** @param {string} kind @param {string} sign @param {string} title @param {string[]} lines */
  #draw(kind, sign, title, lines) {
    const key = [kind, title, ...lines].join("\n");
    this.#banner.hidden = false;
    if (key === this.#shown) return; // said once is enough for a screen reader
    this.#shown = key;
    this.#banner.className = kind;
    const text = element("div", {}, element("strong", {}, title), ...lines.map((line) => element("p", {}, line)));
    this.#banner.replaceChildren(icon(sign), text);
  }
}
