/** What became of uploaded files; pure, and survives a reload of the page as a snapshot. */

import { isSettled } from "./watcher.js";

/**
 * @typedef {import("./api.js").Rejection} Rejection
 * @typedef {{name: string, status: string, fault: import("./api.js").Fault | null, times: number}} Entry
 *   times: how many files had these bytes
 * @typedef {{images: [string, Entry][], searchable: number, rejected: Rejection[], lost: number}} Snapshot
 */

const FAILED_BEFORE = { code: "failed_before", detail: "It was here already, and failed then" };

export class Tally {
  /** @type {Map<string, Entry>} images that are not searchable yet, by id */
  #images = new Map();
  #searchable = 0;
  #accepted = 0;
  #duplicates = 0;
  /** @type {Rejection[]} */
  rejected = [];

  /** @param {import("./api.js").UploadAnswer} answer */
  record({ images, rejected }) {
    this.rejected.push(...rejected);
    for (const { id, filename, status, duplicate } of images) {
      this.#accepted += 1;
      if (duplicate) this.#duplicates += 1;
      const entry = this.#images.get(id) ?? { name: filename, status, fault: null, times: 0 };
      entry.times += 1;
      this.#images.set(id, entry);
      this.update({ id, status, error: null });
    }
  }

  /**
   * @param {import("./api.js").StatusItem} item
   * @returns {boolean} whether it is one of ours
   */
  update({ id, status, error }) {
    const entry = this.#images.get(id);
    if (!entry) return false;
    entry.status = status;
    entry.fault = error ?? entry.fault;
    if (status === "done") {
      this.#images.delete(id);
      this.#searchable += entry.times;
    }
    return true;
  }

  /** @param {string} id an image that is no more */
  forget(id) {
    this.#accepted -= this.#images.get(id)?.times ?? 0;
    this.#images.delete(id);
  }

  /** @returns {{accepted: number, duplicates: number, processing: number, searchable: number, failed: number}} files */
  get counts() {
    let processing = 0;
    let failed = this.rejected.length;
    for (const { status, times } of this.#images.values()) {
      if (isSettled(status)) failed += times;
      else processing += times;
    }
    return {
      accepted: this.#accepted,
      duplicates: this.#duplicates,
      processing,
      searchable: this.#searchable,
      failed,
    };
  }

  /** @returns {{id: string, status: string}[]} images under way */
  get unsettled() {
    return [...this.#images].map(([id, { status }]) => ({ id, status })).filter(({ status }) => !isSettled(status));
  }

  /** @returns {{id: string | null, name: string, fault: import("./api.js").Fault}[]} rejected files and failed images */
  get faults() {
    const failed = [...this.#images].filter(([, { status }]) => status === "error");
    return [
      ...this.rejected.map((item) => ({ id: null, name: item.filename, fault: item })),
      ...failed.map(([id, { name, fault }]) => ({ id, name, fault: fault ?? FAILED_BEFORE })),
    ];
  }

  /**
   * @param {number} unsent files that a reload of the page loses
   * @returns {Snapshot}
   */
  snapshot(unsent) {
    return { images: [...this.#images], searchable: this.#searchable, rejected: this.rejected, lost: unsent };
  }

  /**
   * @param {Snapshot} snapshot
   * @returns {Tally}
   */
  static restore({ images, searchable, rejected }) {
    const tally = new Tally();
    tally.#images = new Map(images);
    tally.#searchable = searchable;
    tally.rejected = rejected;
    tally.#accepted = images.reduce((sum, [, { times }]) => sum + times, searchable);
    return tally;
  }
}
