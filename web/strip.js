// One DOM element that shows a run of DiCache: a column per sampling step, its colour the step's state, its bar the
// error accumulated by then against the threshold. It imports nothing of the frontend, so a bare page can test it.
import { legendOf, make, Plot, PLOT_STYLE } from "./plot.js";
import { headline, usedSettings, whatWasVetoed, whyNothing } from "./told.js";
import { wordsFor } from "./words.js";

/** Least height of the strip in pixels, before and after a run alike: a node must not jump when a run begins. */
export const STRIP_HEIGHT = 128;

const IDLE_COLUMNS = 30;

const STYLE = `
  ${PLOT_STYLE}
  :host { display: flex; flex-direction: column; min-height: ${STRIP_HEIGHT}px; user-select: none; }
  .strip {
    box-sizing: border-box;
    flex: 1;
    padding: 7px 9px;
    display: flex;
    flex-direction: column;
    gap: 3px;
    overflow: hidden;
    border-radius: 8px;
    background: var(--paper);
  }
  .text {
    display: flex; justify-content: space-between; align-items: baseline; gap: 8px; white-space: nowrap;
    min-height: 16px;
  }
  .text > :first-child, .settings { overflow: hidden; text-overflow: ellipsis; }
  .speedup { font-size: 13px; font-weight: 600; }
  .speedup[data-faster="true"] { color: color-mix(in srgb, var(--reused) 50%, var(--ink)); }
  .settings { flex: none; min-height: 13px; white-space: nowrap; }
  .note { flex: none; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
  .note:empty { display: none; }
  [data-idle="true"] .text { color: var(--soft); }
  [data-idle="true"] .bar { display: none; }
`;

/** The strip. `element` goes into the page; `show(event)` draws one "dicache.step" object whole, as often as wanted. */
export class Strip {
  constructor(locale = "en") {
    this.words = wordsFor(locale);
    this.element = make("div", { class: "dicache-strip", role: "img" });
    this.text = make("span");
    this.speedup = make("span", { class: "speedup" });
    this.plot = new Plot(this.words);
    this.settings = make("div", { class: "small settings" });
    this.legend = make("div", { class: "small legend" });
    this.note = make("div", { class: "small note" });
    this.box = make(
      "div",
      { class: "strip" },
      make("div", { class: "text" }, this.text, this.speedup),
      this.settings,
      this.plot.element,
      this.legend,
      this.note,
    );
    this.element.attachShadow({ mode: "open" }).append(make("style", {}, STYLE), this.box);
    this.idle();
  }

  /** Back to the state before the first run. */
  idle() {
    this.box.dataset.idle = "true";
    this.plot.draw("-".repeat(IDLE_COLUMNS), [], null);
    this.drawText(this.words.hint, "", "");
    delete this.speedup.dataset.faster;
    this.settings.removeAttribute("title");
    this.drawLegend("wcr", null);
    this.note.textContent = "";
  }

  show(event) {
    this.box.dataset.idle = "false";
    this.plot.draw(event.cells, event.history, event.threshold);
    const [text, speedup] = headline(event, this.words);
    this.drawText(text, speedup, usedSettings(event, this.words));
    this.settings.title = usedSettings(event, this.words);
    this.speedup.dataset.faster = String(event.speedup > 1.005);
    const reason = whyNothing(event, this.words);
    this.drawLegend("wcr" + (event.cells.includes("m") ? "m" : ""), reason);
    this.note.textContent = reason === null ? whatWasVetoed(event, this.words) : "";
  }

  drawText(text, speedup, settings) {
    this.text.textContent = text;
    this.speedup.textContent = speedup;
    this.settings.textContent = settings;
    this.element.setAttribute("aria-label", ["DiCache", text, speedup].filter(Boolean).join(" · "));
  }

  drawLegend(states, reason) {
    if (reason !== null) return this.legend.replaceChildren(make("b", { title: reason }, reason));
    this.legend.replaceChildren(...legendOf(states, this.words));
  }
}
