/**
 * The HTTP API as functions. Whatever goes wrong is an `ApiError`.
 *
 * @typedef {"created" | "pending" | "embedding" | "indexing" | "done" | "error"} Status
 * @typedef {{code: string, detail: string}} Fault
 * @typedef {{from_status: Status | null, to_status: Status, attempt: number, worker: string | null,
 *            error_code: string | null, at: string}} ImageEvent
 * @typedef {object} Image
 * @property {string} id
 * @property {Status} status
 * @property {number} attempt
 * @property {Fault | null} error
 * @property {string} filename
 * @property {string | null} media_type null, like the next four, while an import has no bytes
 * @property {number | null} byte_size
 * @property {number | null} width
 * @property {number | null} height
 * @property {string | null} sha256
 * @property {string | null} external_id
 * @property {string | null} title
 * @property {string | null} description
 * @property {string | null} category
 * @property {string[]} tags
 * @property {Record<string, unknown>} attributes
 * @property {string | null} model
 * @property {string} created_at
 * @property {string} updated_at
 * @property {string | null} indexed_at
 * @property {{content: string, thumbnail: string, similar: string}} links
 * @property {ImageEvent[] | null} [events]
 * @typedef {{images: Image[], next_cursor: string | null}} ImagePage
 * @typedef {{model: string, results: {score: number, image: Image}[], next_cursor: string | null}} SearchPage
 * @typedef {{id: string, status: Status, error: Fault | null}} StatusItem
 * @typedef {{filename: string, code: string, detail: string}} Rejection
 * @typedef {{id: string, status: Status, filename: string, duplicate: boolean}} Acceptance
 * @typedef {{images: Acceptance[], rejected: Rejection[]}} UploadAnswer
 * @typedef {{name: string, ok: boolean, needed: boolean, detail: string}} Dependency
 * @typedef {{ready: boolean, dependencies: Dependency[], model: string | null, demo: boolean}} Readiness
 * @typedef {Record<string, string | number | null | undefined>} Query
 */

/** A request that did not get what it asked for. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 when no answer came
   * @param {string} code
   * @param {string} detail for people
   * @param {{retryAfter?: number | null, body?: any}} [more] seconds the service asked to wait; the parsed answer
   */
  constructor(status, code, detail, { retryAfter = null, body = null } = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
    this.body = body;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** @returns {ApiError} */
export function unreachable() {
  return new ApiError(0, "unreachable", "The service can’t be reached.");
}

/**
 * Read an answer: its JSON, or the problem it tells of.
 * @param {number} status
 * @param {string} text
 * @param {string | null} retryAfter the header
 * @returns {any}
 */
export function parseAnswer(status, text, retryAfter) {
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    // Not the API's answer: a proxy's page, say. The status has to do.
  }
  if (status >= 200 && status < 300) return body;
  throw new ApiError(status, body?.code ?? "http_error", body?.detail ?? `The service answered ${status}.`, {
    retryAfter: parseRetryAfter(retryAfter),
    body,
  });
}

/**
 * Read `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
 * @param {string | null} header
 * @returns {number | null}
 */
function parseRetryAfter(header) {
  if (!header) return null;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{query?: Query, json?: unknown, form?: FormData, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
async function request(method, path, { query = {}, json, form, signal } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const params = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  /** @type {RequestInit} */
  const init = { method, signal, body: form };
  if (json !== undefined) {
    init.headers = { "Content-Type": "application/json" };
    init.body = JSON.stringify(json);
  }
  let response, text;
  try {
    response = await fetch(params.size ? `${path}?${params}` : path, init);
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw unreachable();
  }
  return parseAnswer(response.status, text, response.headers.get("Retry-After"));
}

/** @param {File} file */
function formWith(file) {
  const form = new FormData();
  form.append("file", file, file.name);
  return form;
}

/**
 * @param {Query} query @param {AbortSignal} [signal] @returns {Promise<ImagePage>}
 */
export const listImages = (query, signal) => request("GET", "/images", { query, signal });

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Image>} */
export const getImage = (id, signal) =>
  request("GET", `/images/${encodeURIComponent(id)}`, { query: { include: "events" }, signal });

/** @param {string} id @param {Partial<Image>} changes @returns {Promise<Image>} */
export const editImage = (id, changes) => request("PATCH", `/images/${encodeURIComponent(id)}`, { json: changes });

/** @param {string} id @returns {Promise<void>} */
export const deleteImage = (id) => request("DELETE", `/images/${encodeURIComponent(id)}`);

/** @param {string} id @returns {Promise<Image>} */
export const requeueImage = (id) => request("POST", `/images/${encodeURIComponent(id)}/requeue`);

/** @param {string[]} ids at most 1000 @returns {Promise<{images: StatusItem[]}>} */
export const pollStatuses = (ids) => request("POST", "/images/status", { json: { ids } });

/** @param {string} id @param {Query} query @param {AbortSignal} [signal] @returns {Promise<SearchPage>} */
export const findSimilar = (id, query, signal) =>
  request("GET", `/images/${encodeURIComponent(id)}/similar`, { query, signal });

/** @param {Query} query @param {AbortSignal} [signal] @returns {Promise<SearchPage>} */
export const searchText = (query, signal) => request("GET", "/search/text", { query, signal });

/** @param {File} file @param {Query} query @param {AbortSignal} [signal] @returns {Promise<SearchPage>} */
export const searchPicture = (file, query, signal) =>
  request("POST", "/search/image", { query, form: formWith(file), signal });

/**
 * Ask how the service is; "not ready" is an answer, not an error.
 * @returns {Promise<Readiness>}
 */
export async function getReadiness() {
  try {
    return await request("GET", "/ready");
  } catch (error) {
    if (error instanceof ApiError && Array.isArray(error.body?.dependencies)) return error.body;
    throw error;
  }
}
