/** The form that narrows a list down. */

import { byId, element } from "./dom.js";
import { go, here } from "./place.js";
import { STATUS_WORDS } from "./words.js";

const MOST_SUGGESTIONS = 200;

/** Fields are those of a place: `status`, `category` and `tag`. What was seen in lists is suggested. */
export class Filters {
  /** @type {HTMLFormElement} */
  #form = byId("filters");
  #seen = { category: new Set(), tag: new Set() };

  constructor() {
    const choices = Object.entries(STATUS_WORDS).map(([value, text]) => element("option", { value }, text));
    this.#control("status").append(...choices);
    this.#form.addEventListener("change", () => this.#apply());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#apply();
    });
    this.#form.addEventListener("reset", (event) => {
      event.preventDefault();
      go({ ...here(), status: "", category: "", tag: "" });
    });
  }

  /**
   * @param {import("./place.js").Place} place
   * @param {("status" | "category" | "tag")[]} shown
   */
  show(place, shown) {
    for (const name of /** @type {const} */ (["status", "category", "tag"])) {
      const control = this.#control(name);
      control.value = place[name];
      control.classList.toggle("set", Boolean(place[name]));
      const label = control.closest("label");
      if (label) label.hidden = !shown.includes(name);
    }
    const reset = this.#form.querySelector("button");
    if (reset) reset.hidden = !shown.some((name) => place[name]);
  }

  /** @param {import("./api.js").Image[]} images */
  learn(images) {
    for (const { category, tags } of images) {
      if (category) this.#suggest("category", "categories", category);
      for (const tag of tags) this.#suggest("tag", "tags", tag);
    }
  }

  /** @param {"category" | "tag"} filter @param {string} list @param {string} value */
  #suggest(filter, list, value) {
    const seen = this.#seen[filter];
    if (seen.has(value) || seen.size >= MOST_SUGGESTIONS) return;
    seen.add(value);
    byId(list).append(element("option", { value }));
  }

  /** @param {string} name @returns {HTMLInputElement | HTMLSelectElement} */
  #control(name) {
    return /** @type {HTMLInputElement | HTMLSelectElement} */ (this.#form.elements.namedItem(name));
  }

  #apply() {
    const value = (/** @type {string} */ name) => this.#control(name).value.trim();
    go({ ...here(), status: value("status"), category: value("category"), tag: value("tag"), image: "" });
  }
}
