/** Follows images that are on their way, with few requests. */

import { ApiError, pollStatuses } from "./api.js";
import { retryDelay } from "./backoff.js";

/** @typedef {import("./api.js").StatusItem} StatusItem */

const MOST_PER_CALL = 1000;
const SHORTEST_S = 1;
const LONGEST_S = 15;
const GROWTH = 1.4;

/** @param {string} status @returns {boolean} whether nothing leaves this state by itself */
export const isSettled = (status) => status === "done" || status === "error";

/**
 * Polls all images it was given until they settle; the pause grows while nothing happens.
 *
 * Events: `change` (detail: StatusItem[], those whose state moved), `gone` (detail: string[], ids that are no more).
 */
export class Watcher extends EventTarget {
  /** @type {Map<string, string>} id → the status last heard */
  #known = new Map();
  #pause = SHORTEST_S;
  #failures = 0;
  #polling = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#schedule(0);
    });
  }

  /**
   * Follow these images; those that are settled, or followed already, change nothing.
   * @param {Iterable<{id: string, status: string}>} images
   */
  watch(images) {
    let added = false;
    for (const { id, status } of images) {
      if (isSettled(status) || this.#known.has(id)) continue;
      this.#known.set(id, status);
      added = true;
    }
    if (!added) return;
    this.#pause = SHORTEST_S;
    if (!this.#polling) this.#schedule(this.#pause);
  }

  /** @param {number} seconds */
  #schedule(seconds) {
    clearTimeout(this.#timer);
    if (this.#known.size) this.#timer = setTimeout(() => this.#poll(), seconds * 1000);
  }

  async #poll() {
    if (this.#polling) return;
    this.#polling = true;
    let delay;
    try {
      const moved = await this.#ask([...this.#known.keys()]);
      this.#failures = 0;
      this.#pause = moved ? SHORTEST_S : Math.min(LONGEST_S, this.#pause * GROWTH);
      delay = document.hidden ? LONGEST_S : this.#pause;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#failures += 1;
      delay = retryDelay(error, this.#failures) ?? LONGEST_S;
    } finally {
      this.#polling = false;
    }
    this.#schedule(delay);
  }

  /**
   * @param {string[]} ids
   * @returns {Promise<boolean>} whether anything moved
   */
  async #ask(ids) {
    let moved = false;
    for (let start = 0; start < ids.length; start += MOST_PER_CALL) {
      const asked = ids.slice(start, start + MOST_PER_CALL);
      const { images } = await pollStatuses(asked);
      moved = this.#compare(asked, images) || moved;
    }
    return moved;
  }

  /**
   * @param {string[]} asked
   * @param {StatusItem[]} found
   */
  #compare(asked, found) {
    const changed = found.filter((item) => item.status !== this.#known.get(item.id));
    const present = new Set(found.map((item) => item.id));
    const gone = asked.filter((id) => !present.has(id));
    for (const { id, status } of changed) {
      if (isSettled(status)) this.#known.delete(id);
      else this.#known.set(id, status);
    }
    for (const id of gone) this.#known.delete(id);
    if (changed.length) this.dispatchEvent(new CustomEvent("change", { detail: changed }));
    if (gone.length) this.dispatchEvent(new CustomEvent("gone", { detail: gone }));
    return changed.length + gone.length > 0;
  }
}
