/** Uploading as a whole: files in, their way through sending and processing, the tally of it, kept over reloads. */

import { requeueImage } from "./api.js";
import { maybePicture } from "./intake.js";
import { Sender } from "./sender.js";
import { Tally } from "./tally.js";

/**
 * @typedef {object} Progress files, by where they are
 * @property {number} total
 * @property {number} unsent no answer yet
 * @property {number} sending of these, those on the wire
 * @property {number} stuck sending failed; wait for `retry`
 * @property {number} uploaded
 * @property {number} duplicates of the uploaded, those that were there already
 * @property {number} processing
 * @property {number} searchable
 * @property {number} failed rejected or failed in processing
 * @property {number} lost not sent before the page was loaded anew
 */

const STORE = "likeness.uploads";

/** Events: `progress`, `accepted` when images are new to the collection, `requeued` (detail: Image). */
export class Uploads extends EventTarget {
  #tally = new Tally();
  /** @type {File[]} */
  #stuck = [];
  /** @type {import("./api.js").ApiError | null} why files are stuck */
  stuckBy = null;
  #lost = 0;
  #watcher;
  #sender;

  /** @param {import("./watcher.js").Watcher} watcher */
  constructor(watcher) {
    super();
    this.#watcher = watcher;
    this.#sender = new Sender({
      answered: (answer) => this.#onAnswer(answer),
      failed: (files, error) => this.#onFailure(files, error),
      moved: () => this.#tell(),
    });
    watcher.addEventListener("change", (event) => {
      const moved = /** @type {CustomEvent} */ (event).detail.filter((/** @type {any} */ item) =>
        this.#tally.update(item),
      );
      if (moved.length) this.#tell();
    });
    watcher.addEventListener("gone", (event) => {
      for (const id of /** @type {CustomEvent} */ (event).detail) this.#tally.forget(id);
      this.#tell();
    });
    addEventListener("pagehide", () => this.#save());
    addEventListener("beforeunload", (event) => {
      if (this.#sender.unsent + this.#stuck.length) event.preventDefault();
    });
  }

  /** Take up what was under way before the page was loaded anew. */
  resume() {
    const kept = sessionStorage.getItem(STORE);
    if (!kept) return;
    /** @type {import("./tally.js").Snapshot} */
    const snapshot = JSON.parse(kept);
    this.#tally = Tally.restore(snapshot);
    this.#lost = snapshot.lost;
    this.#watcher.watch(this.#tally.unsettled);
    this.#tell();
  }

  /** @param {File[]} files */
  add(files) {
    const rejected = files
      .filter((file) => !maybePicture(file))
      .map(({ name, type }) => ({ filename: name, code: "not_a_picture", detail: `its type is ${type}` }));
    this.#tally.record({ images: [], rejected });
    this.#sender.add(files.filter(maybePicture));
    this.#tell();
  }

  /** Send again what could not be sent. */
  retry() {
    const files = this.#stuck;
    this.#stuck = [];
    this.stuckBy = null;
    this.#sender.add(files);
    this.#tell();
  }

  /** @param {string} id a failed image to process again */
  async requeue(id) {
    const image = await requeueImage(id);
    this.reopen(id, image.status);
    this.dispatchEvent(new CustomEvent("requeued", { detail: image }));
  }

  /** @param {string} id @param {import("./api.js").Status} status of an image that was requeued, here or elsewhere */
  reopen(id, status) {
    this.#tally.update({ id, status, error: null });
    this.#watcher.watch([{ id, status }]);
    this.#tell();
  }

  /** @param {string} id an image that was deleted */
  forget(id) {
    this.#tally.forget(id);
    this.#tell();
  }

  /** Send nothing more. */
  stop() {
    this.#sender.stop();
    this.#stuck = [];
    this.stuckBy = null;
    this.#tell();
  }

  /** Start a new tally. */
  clear() {
    this.#tally = new Tally();
    this.#lost = 0;
    this.stop();
  }

  /** @returns {import("./api.js").ApiError | null} why sending waits right now */
  get waitingFor() {
    return this.#sender.waitingFor;
  }

  get faults() {
    return this.#tally.faults;
  }

  /** @returns {Progress} */
  get progress() {
    const { accepted, ...counts } = this.#tally.counts;
    const unsent = this.#sender.unsent;
    const stuck = this.#stuck.length;
    const total = unsent + stuck + accepted + this.#tally.rejected.length;
    return { total, unsent, sending: this.#sender.sending, stuck, uploaded: accepted, ...counts, lost: this.#lost };
  }

  /** @param {import("./api.js").UploadAnswer} answer */
  #onAnswer(answer) {
    this.#tally.record(answer);
    this.#watcher.watch(answer.images);
    if (answer.images.some(({ duplicate }) => !duplicate)) this.dispatchEvent(new CustomEvent("accepted"));
    this.#tell();
  }

  /** @param {File[]} files @param {import("./api.js").ApiError} error */
  #onFailure(files, error) {
    this.#stuck = this.#stuck.concat(files);
    this.stuckBy = error;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new CustomEvent("progress"));
  }

  #save() {
    const { total, unsent, stuck } = this.progress;
    try {
      if (total) sessionStorage.setItem(STORE, JSON.stringify(this.#tally.snapshot(unsent + stuck)));
      else sessionStorage.removeItem(STORE);
    } catch {
      // No room, or none allowed: the images are safe with the service, only this tally of them is lost.
    }
  }
}
