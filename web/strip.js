// One DOM element that shows a run of DiCache: a column per sampling step, its colour the step's state, its bar the
// error accumulated by then against the threshold. It imports nothing of the frontend, so a bare page can test it.
import { legendOf, make, Plot, PLOT_STYLE, statesOf } from "./plot.js";
import { headline, howClose, unitOf, usedSettings, whatWasVetoed, whyNothing } from "./summary.js";
import { wordsFor } from "./words.js";

/** Least height of the strip in pixels, before and after a run alike: a node must not jump when a run begins. */
export const STRIP_HEIGHT = 146;

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
  .text { flex: none; display: flex; justify-content: space-between; align-items: baseline; gap: 8px; min-height: 16px; }
  .text, .settings, .legend b, .note { overflow-wrap: anywhere; } /* two lines before anything is cut */
  .speedup { font-size: 13px; font-weight: 600; }
  .speedup[data-faster="true"] { color: color-mix(in srgb, var(--reused) 50%, var(--ink)); }
  .speedup { white-space: nowrap; }
  .settings { flex: none; min-height: 13px; }
  .legend, .note { flex: none; }
  .plot { min-height: 24px; }
  .note:empty { display: none; }
  [data-idle="true"] .text { color: var(--soft); }
  [data-idle="true"] .bar { display: none; }
`;

/** The strip. `element` goes into the page; `show(run)` draws a run's JSON whole, as often as wanted. */
export class Strip {
  constructor(locale = "en") {
    this.words = wordsFor(locale);
    this.element = make("div", { class: "dicache-strip", role: "group" });
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
    this.plot.unit = this.words.units.step;
    this.plot.draw("-".repeat(IDLE_COLUMNS), [], null);
    this.drawText(this.words.hint, "", "", "");
    delete this.speedup.dataset.faster;
    this.drawLegend("wcr", null);
    this.note.textContent = "";
  }

  /** Before any run of its own: another node samples in this one's place; `by` names it, null where it is not known. */
  overridden(by) {
    this.idle();
    this.drawText(this.words.say(this.words.overridden, { by: by ?? this.words.laterNode }), "", "", this.words.removeOne);
    this.drawLegend("", this.words.removeOne);
  }

  show(run) {
    this.box.dataset.idle = "false";
    this.plot.unit = unitOf(run, this.words);
    this.plot.draw(run.cells, run.accumulated_errors, run.effective.threshold, this.words.error, run.shares);
    const [text, speedup] = headline(run, this.words);
    const reason = whyNothing(run, this.words);
    const note = reason === null ? whatWasVetoed(run, this.words) : "";
    const close = howClose(run, this.words);
    const settings = [close, usedSettings(run, this.words)].filter(Boolean).join(" · ");
    this.drawText(text, speedup, settings, [close, reason ?? note].filter(Boolean).join(" · "));
    this.speedup.dataset.faster = String(run.speedup > 1.005);
    this.drawLegend(statesOf(run), reason, run.accumulated_errors.some(Boolean));
    this.note.textContent = note;
  }

  drawText(text, speedup, settings, remark) {
    this.text.textContent = text;
    this.speedup.textContent = speedup;
    this.settings.textContent = settings;
    this.element.setAttribute("aria-label", ["DiCache", text, speedup, remark].filter(Boolean).join(" · "));
  }

  drawLegend(states, reason, bars = false) {
    if (reason !== null) return this.legend.replaceChildren(make("b", {}, reason));
    const bar = make("span", { class: "of-bars", title: this.words.barHeight }, this.words.bar);
    this.legend.replaceChildren(...legendOf(states, this.words), ...(bars ? [bar] : []));
  }
}
