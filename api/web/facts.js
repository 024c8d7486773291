/** What is known of an image, as lists: details and history. */

import { element } from "./dom.js";
import { STATUS_WORDS, formatBytes, formatDate } from "./words.js";

/** @typedef {import("./api.js").Image} Image */

/**
 * @param {Image} image
 * @returns {HTMLElement}
 */
export function details(image) {
  /** @type {[string, string | null][]} */
  const facts = [
    ["File", image.filename],
    ["Size", image.byte_size === null ? null : `${image.width} × ${image.height}, ${formatBytes(image.byte_size)}`],
    ["Type", image.media_type],
    ["State", `${STATUS_WORDS[image.status]}${image.attempt > 1 ? `, attempt ${image.attempt}` : ""}`],
    ["Added", formatDate(image.created_at)],
    ["Searchable since", image.indexed_at && formatDate(image.indexed_at)],
    ["Model", image.model],
    ["External id", image.external_id],
    ...Object.entries(image.attributes).map(([name, value]) => /** @type {[string, string]} */ ([name, show(value)])),
    ["Id", image.id],
    ["SHA-256", image.sha256],
  ];
  const known = facts.filter(([, value]) => value);
  return element(
    "dl",
    { class: "facts" },
    ...known.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
}

/** @param {unknown} value */
const show = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/**
 * @param {import("./api.js").ImageEvent[]} events oldest first
 * @returns {HTMLElement}
 */
export function timeline(events) {
  return element("ol", { class: "history" }, ...events.map(eventLine));
}

/** @param {import("./api.js").ImageEvent} event */
function eventLine({ to_status, attempt, worker, error_code, at }) {
  const more = [attempt > 1 && `attempt ${attempt}`, worker && `by ${worker}`, error_code].filter(Boolean).join(", ");
  return element(
    "li",
    { "data-status": to_status },
    element("strong", {}, STATUS_WORDS[to_status]),
    element("time", { datetime: at }, formatDate(at)),
    more && element("span", {}, more),
  );
}
