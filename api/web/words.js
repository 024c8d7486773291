/** Figures, dates, states and reasons in plain words; pure. */

/** @type {Record<import("./api.js").Status, string>} */
export const STATUS_WORDS = {
  created: "Arriving",
  pending: "Waiting",
  embedding: "Processing",
  indexing: "Indexing",
  done: "Searchable",
  error: "Failed",
};

/** Stable codes of the API that deserve kinder words than the detail that comes with them. */
/** @type {Record<string, string>} */
const REASONS = {
  unsupported_media: "Not a supported picture format",
  file_too_large: "The file is too large",
  request_too_large: "The file is too large",
  url_refused: "The address is not on the public internet",
  duplicate_image: "The same picture is here already",
  image_too_large: "The picture is too large",
  image_too_many_pixels: "The picture has too many pixels",
  image_side_too_long: "One side of the picture is too long",
  image_header_corrupt: "The file is damaged",
  image_corrupt: "The picture is damaged",
  image_truncated: "The picture is cut off: the file is incomplete",
  empty_file: "The file is empty",
  decode_crashed: "The picture can’t be read safely",
  decode_timeout: "Reading the picture takes too long",
  decode_out_of_memory: "Reading the picture takes too much memory",
  poison_suspected: "Processing it failed again and again",
  file_unreadable: "The file can’t be read any more",
  not_a_picture: "Not a picture",
  unreachable: "The service can’t be reached",
};

/**
 * Say why something failed.
 * @param {{code: string, detail: string}} fault
 * @returns {string}
 */
export function reason({ code, detail }) {
  return REASONS[code] ?? (detail || code);
}

/**
 * Say why in full: the kind words, then the detail that came with the code.
 * @param {{code: string, detail: string}} fault
 * @returns {string}
 */
export function fullReason(fault) {
  const short = reason(fault);
  return fault.detail && fault.detail !== short ? `${sentence(short)} ${sentence(fault.detail)}` : sentence(short);
}

/**
 * Make a detail of the API a sentence: they come in lower case and without a full stop.
 * @param {string} text
 * @returns {string}
 */
export function sentence(text) {
  const end = /[.!?…]$/.test(text) ? "" : ".";
  return text.charAt(0).toUpperCase() + text.slice(1) + end;
}

/**
 * @param {number} bytes
 * @returns {string} "1.4 MB"
 */
export function formatBytes(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${bytes.toLocaleString(undefined, { maximumFractionDigits: unit && bytes < 100 ? 1 : 0 })} ${units[unit]}`;
}

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/**
 * @param {string | null} iso
 * @returns {string}
 */
export function formatDate(iso) {
  return iso ? DATE.format(new Date(iso)) : "–";
}

/**
 * @param {number} count
 * @param {string} noun
 * @param {string} [plural]
 * @returns {string} "1 picture", "1,204 pictures"
 */
export function countOf(count, noun, plural = `${noun}s`) {
  return `${count.toLocaleString()} ${count === 1 ? noun : plural}`;
}

/**
 * Name an image for people.
 * @param {{title: string | null, filename: string}} image
 * @returns {string}
 */
export function nameOf(image) {
  return image.title || image.filename;
}
