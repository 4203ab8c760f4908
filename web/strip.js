// One DOM element that shows a run of DiCache: a column per sampling step, its colour the step's state, its bar the
// error accumulated by then against the threshold. It imports nothing of the frontend, so a bare page can test it.
import { wordsFor } from "./words.js";

/** Least height of the strip in pixels, before and after a run alike: a node must not jump when a run begins. */
export const STRIP_HEIGHT = 100;

const STATES = "wcrml";
/** The threshold line sits at this share of the plot's height, so an error above it has room to show. */
const THRESHOLD_AT = 0.68;
const IDLE_COLUMNS = 30;

const STYLE = `
  :host {
    --warm: color-mix(in srgb, var(--descrip-text, #999) 60%, transparent);
    --computed: #d9822b;
    --reused: #22a38b;
    --faint: color-mix(in srgb, var(--input-text, #ddd) 12%, transparent);
    display: flex;
    flex-direction: column;
    box-sizing: border-box;
    width: 100%;
    min-width: 0;
    overflow: hidden;
    min-height: ${STRIP_HEIGHT}px;
    color: var(--input-text, #ddd);
    font: 11px/1.25 Inter, system-ui, sans-serif;
    font-variant-numeric: tabular-nums;
    user-select: none;
  }
  .strip {
    box-sizing: border-box;
    flex: 1;
    padding: 7px 9px;
    display: flex;
    flex-direction: column;
    gap: 4px;
    overflow: hidden;
    border-radius: 8px;
    background: color-mix(in srgb, var(--input-text, #ddd) 6%, transparent);
  }
  .line { display: flex; justify-content: space-between; align-items: baseline; gap: 8px; white-space: nowrap; }
  .text > :first-child, .legend b { overflow: hidden; text-overflow: ellipsis; }
  .legend b { font-weight: 500; color: var(--input-text, #ddd); }
  .text { min-height: 16px; }
  .speedup { font-size: 13px; font-weight: 600; }
  .speedup[data-faster="true"] { color: var(--reused); }
  .small { font-size: 10px; color: var(--descrip-text, #999); }
  .legend { justify-content: flex-start; }
  .legend span::before {
    content: ""; display: inline-block; width: 7px; height: 7px; margin-right: 4px; border-radius: 2px;
    background: var(--state);
  }
  .plot {
    position: relative; flex: 1; min-height: 0; display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 1px;
  }
  .plot[data-dense="true"] { gap: 0; }
  .column { min-width: 0; display: flex; flex-direction: column; gap: 2px; }
  .column:hover { background: var(--faint); }
  .room { flex: 1; min-height: 0; display: flex; align-items: flex-end; }
  .bar { width: 100%; height: 0; border-radius: 1.5px 1.5px 0 0; background: var(--state); opacity: 0.55; }
  .cell { height: 7px; border-radius: 1.5px; background: var(--state); }
  .line-at {
    position: absolute; inset: auto 0 calc(9px + (100% - 9px) * ${THRESHOLD_AT}) 0; border-top: 1px dashed;
    color: var(--descrip-text, #999); pointer-events: none;
  }
  .settings {
    position: absolute; left: 0; top: 0; font-size: 9px; white-space: nowrap; color: var(--descrip-text, #999);
  }
  [data-state] { --state: var(--faint); }
  [data-state="w"], [data-state="l"] { --state: var(--warm); }
  [data-state="c"] { --state: var(--computed); }
  [data-state="r"] { --state: var(--reused); }
  [data-state="m"] { --state: linear-gradient(to top, var(--reused) 50%, var(--computed) 50%); }
  [data-idle="true"] .text { color: var(--descrip-text, #999); }
  [data-idle="true"] .bar { display: none; }
  [hidden] { display: none !important; }
`;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Three significant digits without trailing zeros: 0.4, 0.0312, 1.42. */
const short = (value) => String(Number(value.toPrecision(3)));

/**
 * Why a finished run skipped nothing, in the user's words; null when it did skip something or still runs.
 * `event` is the server's "dicache.step" object.
 */
export function whyNothing(event, words) {
  if (!event.nothing) return null;
  const { reason, smallest } = event.nothing;
  const shown = (value) => (value === null ? "" : short(value));
  return words.nothing[reason]?.({ ...event, smallest: shown(smallest), threshold: shown(event.threshold) }) ?? null;
}

/** The two texts of the headline: where the run is and what it skipped, and the measured speed-up ("" if unknown). */
export function headline(event, words) {
  const whole = !event.cells.includes("-");
  const progress = event.finished ? words.stopped : words.running;
  const text = whole
    ? words.skipped(event.reused, event.steps)
    : `${progress(event.step, event.steps)} · ${words.skippedSoFar(event.reused)}`;
  return [text, event.speedup === null ? "" : words.speedup(event.speedup.toFixed(2))];
}

/** Method and numbers that were in force, whatever the widgets say: an automatic value is decided on the server. */
export function usedSettings(event, words) {
  const method = words.methods[event.policy] ?? event.policy?.replaceAll("_", " ");
  const known = Object.entries(words.settings).filter(([name]) => event[name] !== null);
  const number = (value) => (typeof value === "number" ? short(value) : value);
  return [method, ...known.map(([name, say]) => say(number(event[name])))].filter(Boolean).join(" · ");
}

/** The strip. `element` goes into the page; `show(event)` draws one "dicache.step" object whole, as often as wanted. */
export class Strip {
  constructor(locale = "en") {
    this.words = wordsFor(locale);
    this.element = make("div", { class: "dicache-strip", role: "img" });
    this.text = make("span");
    this.speedup = make("span", { class: "speedup" });
    this.plot = make("div", { class: "plot" });
    this.settings = make("span", { class: "settings" });
    this.thresholdLine = make("div", { class: "line-at" });
    this.legend = make("div", { class: "line small legend" });
    this.box = make(
      "div",
      { class: "strip" },
      make("div", { class: "line text" }, this.text, this.speedup),
      this.plot,
      this.legend,
    );
    this.element.attachShadow({ mode: "open" }).append(make("style", {}, STYLE), this.box);
    this.idle();
  }

  /** Back to the state before the first run. */
  idle() {
    this.box.dataset.idle = "true";
    this.drawColumns("-".repeat(IDLE_COLUMNS), [], null);
    this.drawText(this.words.hint, "", "");
    delete this.speedup.dataset.faster;
    this.settings.removeAttribute("title");
    this.drawLegend("wcr", null);
  }

  show(event) {
    this.box.dataset.idle = "false";
    this.drawColumns(event.cells, event.history, event.threshold);
    const [text, speedup] = headline(event, this.words);
    this.drawText(text, speedup, usedSettings(event, this.words));
    this.settings.title = usedSettings(event, this.words);
    this.speedup.dataset.faster = String(event.speedup > 1.005);
    this.drawLegend("wcr" + (event.cells.includes("m") ? "m" : ""), whyNothing(event, this.words));
  }

  drawText(text, speedup, settings) {
    this.text.textContent = text;
    this.speedup.textContent = speedup;
    this.settings.textContent = settings;
    this.element.setAttribute("aria-label", ["DiCache", text, speedup].filter(Boolean).join(" · "));
  }

  drawLegend(states, reason) {
    if (reason !== null) return this.legend.replaceChildren(make("b", { title: reason }, reason));
    const entry = (state) => make("span", { "data-state": state }, this.words.states[state]);
    this.legend.replaceChildren(...[...states].map(entry));
  }

  drawColumns(cells, errors, threshold) {
    const top = (threshold || Math.max(0, ...errors) || 1) / THRESHOLD_AT;
    const columns = [...cells].map((cell, step) => this.column(step, cell, errors[step] ?? null, top));
    this.thresholdLine.hidden = !threshold;
    this.plot.dataset.dense = String(cells.length > 80);
    this.plot.replaceChildren(...columns, this.thresholdLine, this.settings);
  }

  column(step, cell, error, top) {
    const state = STATES.includes(cell) ? cell : "-";
    const bar = make("div", { class: "bar" });
    if (error !== null) bar.style.height = `${Math.min(100, (100 * error) / top)}%`;
    const column = make(
      "div",
      { class: "column", "data-state": state },
      make("div", { class: "room" }, bar),
      make("div", { class: "cell" }),
    );
    const words = this.words;
    column.title = words.column(step + 1, words.states[state]);
    if (error !== null) column.title += ` · ${words.error(short(error))}`;
    return column;
  }
}
