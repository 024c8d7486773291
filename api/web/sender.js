/** Sends files in batches, a few requests at a time, and tries again what did not get through. */

import { ApiError, parseAnswer, unreachable } from "./api.js";
import { pause, retryDelay } from "./backoff.js";

/**
 * @typedef {import("./api.js").UploadAnswer} UploadAnswer
 * @typedef {object} Listener
 * @property {(answer: UploadAnswer) => void} answered what became of some files
 * @property {(files: File[], error: ApiError) => void} failed these were not sent and wait for `retry`
 * @property {() => void} moved something else changed: bytes went out, a wait began or ended
 * @typedef {{files: File[], progress: number, waitingFor: ApiError | null}} Batch progress: 0 to 1
 */

const BATCH_FILES = 50;
const BATCH_BYTES = 50_000_000;
const PARALLEL = 2;
const ATTEMPTS = 6;

export class Sender {
  /** @type {File[]} */
  #queue = [];
  /** @type {Set<Batch>} */
  #active = new Set();
  #stopping = new AbortController();
  #batchFiles = BATCH_FILES;
  #listener;

  /** @param {Listener} listener */
  constructor(listener) {
    this.#listener = listener;
  }

  /** @param {File[]} files */
  add(files) {
    this.#queue = this.#queue.concat(files);
    while (this.#active.size < PARALLEL && this.#queue.length) void this.#sendBatch(this.#takeBatch());
  }

  /** @returns {number} files that have no answer yet */
  get unsent() {
    return [...this.#active].reduce((sum, batch) => sum + batch.files.length, this.#queue.length);
  }

  /** @returns {number} files on the wire, by the share of their bytes that left */
  get sending() {
    return [...this.#active].reduce((sum, batch) => sum + batch.files.length * batch.progress, 0);
  }

  /** @returns {ApiError | null} why nothing goes out right now */
  get waitingFor() {
    return [...this.#active].find((batch) => batch.waitingFor)?.waitingFor ?? null;
  }

  /** Drop what was not sent. A request cut off after its last byte may be accepted all the same. */
  stop() {
    this.#queue = [];
    this.#stopping.abort();
    this.#stopping = new AbortController();
  }

  /** @returns {Batch} */
  #takeBatch() {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && count < this.#batchFiles) {
      bytes += this.#queue[count].size;
      if (count > 0 && bytes > BATCH_BYTES) break;
      count += 1;
    }
    return { files: this.#queue.splice(0, count), progress: 0, waitingFor: null };
  }

  /** @param {Batch} batch */
  async #sendBatch(batch) {
    const { signal } = this.#stopping;
    this.#active.add(batch);
    try {
      const answer = await this.#sendUntilAnswered(batch, signal);
      this.#active.delete(batch);
      this.#listener.answered(answer);
    } catch (error) {
      this.#active.delete(batch);
      if (signal.aborted) this.#listener.moved();
      else this.#giveUp(batch.files, error);
    }
    this.add([]);
  }

  /**
   * @param {Batch} batch
   * @param {AbortSignal} signal
   * @returns {Promise<UploadAnswer>}
   */
  async #sendUntilAnswered(batch, signal) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await send(batch.files, signal, (share) => {
          batch.progress = share;
          this.#listener.moved();
        });
      } catch (error) {
        const delay = attempt < ATTEMPTS ? retryDelay(error, attempt) : null;
        if (signal.aborted || delay === null) throw error;
        batch.progress = 0;
        if (await this.#dropUnreadable(batch)) continue;
        batch.waitingFor = /** @type {ApiError} */ (error);
        this.#listener.moved();
        await pause(delay, signal);
        batch.waitingFor = null;
      }
    }
  }

  /**
   * Take out files that were moved or deleted since they were picked: browsers tell it as if the network had failed.
   * @param {Batch} batch
   * @returns {Promise<boolean>} whether there were any
   */
  async #dropUnreadable(batch) {
    const readable = await Promise.all(batch.files.map(isReadable));
    const lost = batch.files.filter((_, index) => !readable[index]);
    batch.files = batch.files.filter((_, index) => readable[index]);
    const rejected = lost.map(({ name }) => ({ filename: name, code: "file_unreadable", detail: "" }));
    if (lost.length) this.#listener.answered({ images: [], rejected });
    return lost.length > 0;
  }

  /**
   * @param {File[]} files
   * @param {unknown} error
   */
  #giveUp(files, error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status !== 413) return this.#listener.failed(files, error);
    // A limit on the request, not on a file (a proxy's, say): smaller requests may pass.
    if (files.length > 1) {
      this.#batchFiles = Math.ceil(files.length / 2);
      this.#queue = files.concat(this.#queue);
    } else {
      const rejected = files.map(({ name }) => ({ filename: name, code: error.code, detail: error.message }));
      this.#listener.answered({ images: [], rejected });
    }
  }
}

/** @param {File} file @returns {Promise<boolean>} */
const isReadable = (file) =>
  file
    .slice(0, 1)
    .arrayBuffer()
    .then(
      () => true,
      () => false,
    );

/**
 * Send one request. `fetch` tells nothing of an upload's progress, so this is an XMLHttpRequest.
 * @param {File[]} files
 * @param {AbortSignal} signal
 * @param {(share: number) => void} onProgress told the share of bytes that left, 0 to 1
 * @returns {Promise<UploadAnswer>}
 */
function send(files, signal, onProgress) {
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  const request = new XMLHttpRequest();
  const stop = () => request.abort();
  signal.addEventListener("abort", stop, { once: true });
  if (!files.length) return Promise.resolve({ images: [], rejected: [] });
  return new Promise((resolve, reject) => {
    request.open("POST", "/images/upload");
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 0);
    request.onerror = request.ontimeout = () => reject(unreachable());
    request.onabort = () => reject(signal.reason);
    request.onload = () => {
      try {
        resolve(readAnswer(request));
      } catch (error) {
        reject(error);
      }
    };
    request.send(form);
  }).finally(() => signal.removeEventListener("abort", stop));
}

/** @param {XMLHttpRequest} request @returns {UploadAnswer} */
function readAnswer(request) {
  try {
    return parseAnswer(request.status, request.responseText, request.getResponseHeader("Retry-After"));
  } catch (error) {
    // When every file was rejected, the answer is a problem that lists them all the same.
    if (error instanceof ApiError && Array.isArray(error.body?.rejected)) return error.body;
    throw error;
  }
}
