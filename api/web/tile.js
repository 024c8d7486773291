/** An image in a list. */

import { requeueImage } from "./api.js";
import { button, element, icon, notify } from "./dom.js";
import { STATUS_WORDS, nameOf, reason, sentence } from "./words.js";

/** @typedef {import("./api.js").Image} Image */

const NARROWEST = 0.62;
const WIDEST = 2.4;

/** One tile: the picture when there is one to show, its state until then, a score if it was searched for. */
export class Tile {
  /** @type {HTMLLIElement} */
  root = element("li", { class: "tile" });
  #link = element("a");
  #onRequeued;

  /**
   * @param {Image} image
   * @param {{score?: number, onRequeued: (image: Image) => void}} options score: cosine similarity, -1 to 1
   */
  constructor(image, { score, onRequeued }) {
    this.image = image;
    this.#onRequeued = onRequeued;
    this.#link.setAttribute("href", `#image=${image.id}`);
    this.root.append(this.#link);
    if (score !== undefined) this.root.append(scoreBar(score));
    const ratio = image.width && image.height ? image.width / image.height : 1;
    this.root.style.setProperty("--ratio", String(Math.min(WIDEST, Math.max(NARROWEST, ratio))));
    this.#draw();
  }

  /**
   * Show what changed.
   * @param {Partial<Image>} changes
   */
  update(changes) {
    const moved = changes.status !== undefined && changes.status !== this.image.status;
    const renamed = changes.title !== undefined && changes.title !== this.image.title;
    this.image = { ...this.image, ...changes };
    if (moved || renamed) this.#draw();
  }

  #draw() {
    const { status, links } = this.image;
    this.root.dataset.status = status;
    this.root.querySelector(".fault")?.remove();
    if (status === "done") {
      const picture = element("img", { src: links.thumbnail, alt: "", loading: "lazy", decoding: "async" });
      picture.addEventListener("error", () => picture.replaceWith(icon("picture")), { once: true });
      this.#link.replaceChildren(picture, this.#caption());
    } else {
      const state = element(
        "span",
        { class: "state" },
        icon(status === "error" ? "alert" : "clock"),
        STATUS_WORDS[status],
      );
      this.#link.replaceChildren(state, this.#caption());
      if (status === "error") this.root.append(this.#fault());
    }
  }

  #caption() {
    return element("span", { class: "caption" }, nameOf(this.image));
  }

  #fault() {
    const { error } = this.image;
    const requeue = button({
      icon: "retry",
      text: "Requeue",
      class: "button small",
      onclick: async () => {
        requeue.disabled = true;
        await this.#requeue();
        requeue.disabled = false;
      },
    });
    return element("div", { class: "fault" }, element("p", { title: error?.detail }, error && reason(error)), requeue);
  }

  async #requeue() {
    try {
      const image = await requeueImage(this.image.id);
      this.update(image);
      this.#onRequeued(image);
    } catch (error) {
      notify(sentence(error instanceof Error ? error.message : String(error)));
    }
  }
}

/** @param {number} score @returns {HTMLElement} */
function scoreBar(score) {
  const fill = element("span", { class: "fill" });
  fill.style.setProperty("width", `${100 * Math.min(1, Math.max(0, score))}%`);
  return element(
    "div",
    { class: "score", title: "Cosine similarity; 1 is the most alike" },
    element("span", { class: "bar", "aria-hidden": "true" }, fill),
    element("span", { class: "figure" }, element("span", { class: "unseen" }, "Score "), score.toFixed(3)),
  );
}
