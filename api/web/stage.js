/** The large picture of an image. */

import { element, icon } from "./dom.js";
import { nameOf } from "./words.js";

/** How much a small picture is enlarged at most. */
const LARGEST = 2;
/** Formats that browsers show; others are shown by their thumbnail. */
const SHOWN = new Set(["image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "image/bmp"]);

/**
 * Show an image: its thumbnail at once, which a list has loaded most likely, and the original as soon as it is there.
 * @param {HTMLElement} stage
 * @param {import("./api.js").Image} image
 */
export function showOn(stage, image) {
  const { status, links, width, height, media_type } = image;
  if (media_type === null || width === null || height === null) {
    stage.replaceChildren(noPreview()); // an import that is still to be downloaded
    return;
  }
  const source = SHOWN.has(media_type) ? links.content : links.thumbnail;
  const first = status === "done" ? links.thumbnail : source;
  if (stage.querySelector("img")?.dataset.source === source) return;
  const picture = element("img", { alt: nameOf(image), width, height, "data-source": source, src: first });
  picture.style.setProperty("--widest", `${LARGEST * width}px`);
  picture.style.setProperty("--highest", `${LARGEST * height}px`);
  picture.addEventListener("error", () => picture.replaceWith(noPreview()));
  stage.replaceChildren(picture);
  if (first === source) return;
  const original = new Image();
  original.onload = () => (picture.src = source);
  original.src = source;
}

const noPreview = () => element("p", { class: "quiet" }, icon("picture"), "No preview");
