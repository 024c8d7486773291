/** A list of images that grows as one scrolls. */

import { ApiError } from "./api.js";
import { retryDelay } from "./backoff.js";
import { button, element } from "./dom.js";
import { Tile } from "./tile.js";
import { isSettled } from "./watcher.js";
import { countOf, sentence } from "./words.js";

/**
 * @typedef {import("./api.js").Image} Image
 * @typedef {{items: {image: Image, score?: number}[], next: string | null, model?: string}} Page
 * @typedef {object} View what a feed shows
 * @property {Node[]} heading
 * @property {("status" | "category" | "tag")[]} filters those that apply
 * @property {boolean} live whether new images belong at its top
 * @property {(cursor: string | null, signal: AbortSignal) => Promise<Page>} load
 * @property {() => Node} empty what to show when there is nothing
 */

const AHEAD = "900px";

/** Events: `page` after each page (detail: Page), `requeued` (detail: Image). */
export class Feed extends EventTarget {
  /** @type {Map<string, Tile>} in the order shown */
  #tiles = new Map();
  #list = element("ul", { class: "grid" });
  #end = element("div", { class: "end" });
  root = element("section", { class: "feed", "aria-label": "Pictures" }, this.#list, this.#end);
  /** @type {string | null} */
  #next = null;
  #state = /** @type {"idle" | "loading" | "failed" | "complete"} */ ("idle");
  #attempt = 0;
  /** @type {Promise<void>} */
  #loading = Promise.resolve();
  #closing = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retrying;
  #observer = new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting) && this.#state === "idle") this.#start();
    },
    { rootMargin: AHEAD },
  );

  /** @param {View} view */
  constructor(view) {
    super();
    this.view = view;
    this.#start();
  }

  /** Stop for good. */
  close() {
    this.#closing.abort();
    this.#observer.disconnect();
    clearTimeout(this.#retrying);
  }

  /** @returns {string[]} ids in the order shown */
  get ids() {
    return [...this.#tiles.keys()];
  }

  /** @param {string} id @returns {Image | undefined} */
  find(id) {
    return this.#tiles.get(id)?.image;
  }

  /** @param {Partial<Image> & {id: string}} changes */
  update(changes) {
    this.#tiles.get(changes.id)?.update(changes);
  }

  /** @param {string} id */
  remove(id) {
    this.#tiles.get(id)?.root.remove();
    this.#tiles.delete(id);
    if (!this.#tiles.size && this.#state === "complete") this.#drawEnd();
  }

  /** @param {string} id */
  focus(id) {
    this.#tiles.get(id)?.root.querySelector("a")?.focus();
  }

  /** Try now what is waiting to be tried again. */
  retry() {
    if (this.#state === "failed") this.#start();
  }

  /**
   * Put images on top that are newer than those shown.
   * @returns {Promise<void>} rejects with the `ApiError` that kept it from it
   */
  async refresh() {
    await this.#loading;
    if (this.#state === "failed" && !this.#tiles.size) return; // trying again brings them all
    try {
      await this.#loadNewer();
    } catch (error) {
      if (!this.#closing.signal.aborted) throw error;
    }
  }

  async #loadNewer() {
    /** @type {Page["items"]} */
    const fresh = [];
    /** @type {string | null} */
    let cursor = null;
    do {
      const page = await this.view.load(cursor, this.#closing.signal);
      const unseen = page.items.filter(({ image }) => !this.#tiles.has(image.id));
      fresh.push(...unseen);
      cursor = unseen.length === page.items.length ? page.next : null;
    } while (cursor);
    this.#add(fresh, "top");
    if (this.#state === "complete") this.#drawEnd();
    this.dispatchEvent(new CustomEvent("page", { detail: { items: fresh, next: null } }));
  }

  #start() {
    this.#loading = this.#loadMore();
  }

  async #loadMore() {
    clearTimeout(this.#retrying);
    this.#state = "loading";
    this.#drawEnd();
    try {
      const page = await this.view.load(this.#next, this.#closing.signal);
      this.#next = page.next;
      this.#attempt = 0;
      this.#state = page.next ? "idle" : "complete";
      this.#add(page.items, "bottom");
      this.#drawEnd();
      this.dispatchEvent(new CustomEvent("page", { detail: page }));
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.#state = "failed";
      this.#attempt += 1;
      const delay = retryDelay(error, this.#attempt);
      if (delay !== null) this.#retrying = setTimeout(() => this.retry(), delay * 1000);
      this.#drawEnd(error);
    }
    // An observer tells of changes only: ask anew, the end may still be in sight.
    this.#observer.unobserve(this.#end);
    if (this.#state === "idle") this.#observer.observe(this.#end);
  }

  /** @param {Page["items"]} items @param {"top" | "bottom"} where */
  #add(items, where) {
    const onRequeued = (/** @type {Image} */ image) =>
      this.dispatchEvent(new CustomEvent("requeued", { detail: image }));
    const added = items.filter(({ image }) => !this.#tiles.has(image.id));
    /** @type {[string, Tile][]} */
    const tiles = added.map(({ image, score }) => [image.id, new Tile(image, { score, onRequeued })]);
    const roots = tiles.map(([, tile]) => tile.root);
    if (where === "top") {
      this.#tiles = new Map([...tiles, ...this.#tiles]);
      this.#list.prepend(...roots);
    } else {
      for (const [id, tile] of tiles) this.#tiles.set(id, tile);
      this.#list.append(...roots);
    }
  }

  /** @returns {{id: string, status: string}[]} images shown that are under way */
  get unsettled() {
    return [...this.#tiles.values()].map(({ image }) => image).filter(({ status }) => !isSettled(status));
  }

  /** @param {ApiError} [error] */
  #drawEnd(error) {
    this.root.setAttribute("aria-busy", String(this.#state === "loading"));
    if (error) {
      const retry = button({ icon: "retry", text: "Try again", onclick: () => this.retry() });
      this.#end.replaceChildren(element("p", { role: "alert" }, sentence(error.message)), retry);
    } else if (this.#state === "complete" && !this.#tiles.size) {
      this.#end.replaceChildren(this.view.empty());
    } else if (this.#state === "complete") {
      this.#end.replaceChildren(element("p", { class: "quiet" }, countOf(this.#tiles.size, "picture")));
    } else if (this.#state === "loading") {
      this.#end.replaceChildren(element("p", { class: "quiet", role: "status" }, "Loading…"));
    } else {
      this.#end.replaceChildren();
    }
  }
}
