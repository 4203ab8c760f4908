// What DiCache Tune, Compare and Calibrate say on their nodes: how far they are, and then what they found. An element of its
// own, as the newest front end takes the host's line of text away when a job is done.
import { make, PLOT_STYLE } from "./plot.js";
import { toldResult } from "./summary.js";
import { wordsFor } from "./words.js";

/** Least and most height in pixels; more lines than that are scrolled. */
export const SAID_HEIGHT = 62;
export const SAID_MOST = 124;

const STYLE = `
  ${PLOT_STYLE}
  :host { display: block; height: 100%; min-height: ${SAID_HEIGHT}px; }
  .text {
    box-sizing: border-box; height: 100%; min-height: inherit; margin: 0; padding: 7px 9px; border-radius: 8px;
    background: var(--paper); line-height: 1.4; white-space: pre-line; overflow: auto; user-select: text; cursor: text;
  }
`;

/** `element` goes into the page; `show({text, dicache})` writes what the server's node returned, or a line on the way. */
export class Said {
  constructor(locale = "en") {
    this.words = wordsFor(locale);
    this.text = make("p", { class: "text", tabindex: "0" }, this.words.noResult);
    this.element = make("div", { class: "dicache-said" });
    this.element.attachShadow({ mode: "open" }).append(make("style", {}, STYLE), this.text);
  }

  show({ text, dicache }) {
    this.text.textContent = toldResult(dicache, this.words) ?? text.join("\n");
  }
}
