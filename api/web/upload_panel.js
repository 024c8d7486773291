/** The card that shows how an upload goes. */

import { button, byId, element, icon, notify } from "./dom.js";
import { countOf, fullReason, reason, sentence } from "./words.js";

/** @typedef {import("./upload.js").Uploads} Uploads */

const MOST_FAULTS = 200;

export class UploadPanel {
  #uploads;
  #root = byId("uploads");
  #drawing = false;
  #title = element("h2", { id: "uploads-title", "aria-live": "polite" });
  #note = element("p", { class: "note" });
  #bar = element(
    "div",
    { class: "progress", role: "progressbar", "aria-labelledby": "uploads-title", "aria-valuemin": 0 },
    ...["searchable", "processing", "sending", "failed"].map((part) => element("span", { class: part })),
  );
  #counts = element("ul", { class: "counts" });
  #summary = element("summary");
  #faults = element("ul");
  #details = element("details", { class: "faults" }, this.#summary, this.#faults);
  /** @type {string | null} */
  #shownFaults = null;
  #retry;
  #stop;
  #close;

  /** @param {Uploads} uploads */
  constructor(uploads) {
    this.#uploads = uploads;
    this.#retry = button({ icon: "retry", text: "Try again", class: "button primary", onclick: () => uploads.retry() });
    this.#stop = button({ text: "Stop", onclick: () => uploads.stop() });
    this.#close = button({ icon: "close", label: "Close", class: "round", onclick: () => uploads.clear() });
    this.#root.append(
      element("header", {}, this.#title, this.#close),
      this.#bar,
      this.#counts,
      this.#note,
      this.#details,
      element("footer", {}, this.#retry, this.#stop),
    );
    uploads.addEventListener("progress", () => this.#drawSoon());
  }

  /** Progress comes in bursts: one drawing per frame is plenty. */
  #drawSoon() {
    if (this.#drawing) return;
    this.#drawing = true;
    setTimeout(() => {
      this.#drawing = false;
      this.#draw();
    }, 50);
  }

  #draw() {
    const progress = this.#uploads.progress;
    const { total, unsent, stuck, processing, lost } = progress;
    this.#root.hidden = total + lost === 0;
    this.#title.textContent = title(progress);
    this.#note.textContent = this.#explain();
    this.#note.hidden = !this.#note.textContent;
    this.#retry.hidden = stuck === 0;
    this.#stop.hidden = unsent + stuck === 0;
    this.#close.hidden = unsent + stuck + processing > 0;
    this.#drawBar(progress);
    this.#drawCounts(progress);
    this.#drawFaults();
  }

  #explain() {
    const { stuck, duplicates, lost, uploaded } = this.#uploads.progress;
    const waiting = this.#uploads.waitingFor;
    const stuckBy = this.#uploads.stuckBy;
    const parts = [];
    if (waiting) parts.push(`${sentence(waiting.message)} Trying again by itself.`);
    if (stuck && stuckBy)
      parts.push(
        `${countOf(stuck, "file")} could not be sent: ${sentence(reason({ code: stuckBy.code, detail: stuckBy.message }))}`,
      );
    if (duplicates)
      parts.push(
        duplicates === uploaded
          ? "All of it was here already."
          : `${countOf(duplicates, "of them was", "of them were")} here already.`,
      );
    if (lost)
      parts.push(
        `${countOf(lost, "file")} had no answer when the page was reloaded: add them again, none is kept twice.`,
      );
    return parts.join(" ");
  }

  /** @param {import("./upload.js").Progress} progress */
  #drawBar({ total, searchable, processing, sending, failed, stuck }) {
    const shares = { searchable, processing, sending, failed: failed + stuck };
    for (const part of /** @type {HTMLCollectionOf<HTMLElement>} */ (this.#bar.children)) {
      const share = shares[/** @type {keyof typeof shares} */ (part.className)];
      part.style.setProperty("width", `${total ? (100 * share) / total : 0}%`);
    }
    this.#bar.setAttribute("aria-valuemax", String(total));
    this.#bar.setAttribute("aria-valuenow", String(searchable + failed));
  }

  /** @param {import("./upload.js").Progress} progress */
  #drawCounts({ total, uploaded, processing, searchable, failed, stuck }) {
    /** @type {[string, string][]} */
    const lines = [
      ["uploaded", `${uploaded.toLocaleString()} of ${total.toLocaleString()} uploaded`],
      ["processing", `${processing.toLocaleString()} processing`],
      ["searchable", `${searchable.toLocaleString()} searchable`],
      ["failed", `${(failed + stuck).toLocaleString()} failed`],
    ];
    const shown = failed + stuck ? lines : lines.slice(0, 3);
    this.#counts.replaceChildren(...shown.map(([part, text]) => element("li", { class: part }, text)));
  }

  #drawFaults() {
    const faults = this.#uploads.faults;
    const key = faults.map(({ id, name }) => id ?? name).join("\n");
    if (key === this.#shownFaults) return;
    this.#shownFaults = key;
    this.#details.hidden = faults.length === 0;
    this.#summary.textContent = countOf(faults.length, "file did", "files did") + " not make it";
    const lines = faults.slice(0, MOST_FAULTS).map((fault) => this.#faultLine(fault));
    if (faults.length > MOST_FAULTS) lines.push(element("li", {}, `and ${faults.length - MOST_FAULTS} more`));
    this.#faults.replaceChildren(...lines);
  }

  /** @param {Uploads["faults"][number]} fault */
  #faultLine({ id, name, fault }) {
    const requeue = async () => {
      try {
        if (id) await this.#uploads.requeue(id);
      } catch (error) {
        notify(sentence(error instanceof Error ? error.message : String(error)));
      }
    };
    return element(
      "li",
      {},
      icon("alert"),
      element("span", {}, element("strong", {}, name), element("span", {}, fullReason(fault))),
      id && button({ text: "Requeue", class: "button small", onclick: requeue }),
    );
  }
}

/**
 * @param {import("./upload.js").Progress} progress
 * @returns {string}
 */
function title({ total, unsent, stuck, processing, searchable, failed }) {
  if (unsent) return `Uploading ${countOf(total, "file")}`;
  if (processing) return `Processing ${countOf(processing, "picture")}`;
  if (stuck) return "Upload interrupted";
  if (searchable) return `${countOf(searchable, "picture is", "pictures are")} searchable`;
  return failed ? `${countOf(failed, "file")} failed` : "Upload interrupted";
}
