// One DOM element that shows a run of DiCache: a column per sampling step, its colour the step's state, its bar the
// error accumulated by then against the threshold. It imports nothing of the frontend, so a bare page can test it.
import { wordsFor } from "./words.js";

/** Least height of the strip in pixels, before and after a run alike: a node must not jump when a run begins. */
export const STRIP_HEIGHT = 128;

const STATES = "wcrml";
/** The threshold line sits at this share of the plot's height, so an error above it has room to show. */
const THRESHOLD_AT = 0.68;
const IDLE_COLUMNS = 30;
/** Height in pixels of the row of cells below the bars. */
const CELL = 9;

// A state is told by its shape as well as by its colour: a computed step is a whole cell, warm-up a hatched one, a skipped
// step a thin one, because little was done. Text and ground are the theme's own for a node.
const STYLE = `
  :host {
    --ink: var(--component-node-foreground, var(--input-text, #ddd));
    --paper: color-mix(
      in srgb,
      var(--component-node-widget-background, var(--comfy-input-bg, #222)),
      var(--component-node-background, var(--comfy-input-bg, #222))
    );
    --soft: color-mix(in srgb, var(--ink) 74%, var(--paper));
    --warm: color-mix(in srgb, var(--ink) 50%, var(--paper));
    --computed: #c9701a;
    --reused: #1a9480;
    --faint: color-mix(in srgb, var(--ink) 14%, var(--paper));
    display: flex;
    flex-direction: column;
    box-sizing: border-box;
    width: 100%;
    min-width: 0;
    overflow: hidden;
    min-height: ${STRIP_HEIGHT}px;
    color: var(--ink);
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
    gap: 3px;
    overflow: hidden;
    border-radius: 8px;
    background: var(--paper);
  }
  .line { display: flex; justify-content: space-between; align-items: baseline; gap: 8px; white-space: nowrap; }
  .text > :first-child, .legend b, .settings { overflow: hidden; text-overflow: ellipsis; }
  .legend b { font-weight: 500; color: var(--ink); }
  .text { min-height: 16px; }
  .speedup { font-size: 13px; font-weight: 600; }
  .speedup[data-faster="true"] { color: color-mix(in srgb, var(--reused) 50%, var(--ink)); }
  .small, .settings { font-size: 10px; color: var(--soft); }
  .settings { flex: none; min-height: 13px; white-space: nowrap; }
  .legend { justify-content: flex-start; gap: 10px; }
  .legend span { display: inline-flex; align-items: center; gap: 4px; }
  .legend .cell { width: 9px; }
  .plot {
    position: relative; flex: 1; min-height: 0; display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 1px;
  }
  .plot[data-dense="true"] { gap: 0; }
  .column { min-width: 0; display: flex; flex-direction: column; gap: 2px; }
  .column:hover { background: var(--faint); }
  .room { flex: 1; min-height: 0; display: flex; align-items: flex-end; }
  .bar { width: 100%; height: 0; border-radius: 1.5px 1.5px 0 0; background: var(--state); opacity: 0.7; }
  .cell {
    flex: none; box-sizing: border-box; height: ${CELL}px; border-radius: 1.5px; background: var(--state);
  }
  .line-at {
    position: absolute; inset: auto 0 calc(${CELL + 2}px + (100% - ${CELL + 2}px) * ${THRESHOLD_AT}) 0;
    border-top: 1px dashed; color: var(--soft); pointer-events: none;
  }
  [data-state] { --state: var(--faint); }
  [data-state="w"], [data-state="l"] { --state: var(--warm); }
  [data-state="c"] { --state: var(--computed); }
  [data-state="r"], [data-state="m"] { --state: var(--reused); }
  [data-state="w"] .cell, [data-state="l"] .cell {
    border: 1px solid var(--warm);
    background: repeating-linear-gradient(135deg, var(--warm) 0 1.5px, transparent 1.5px 3.5px);
  }
  [data-state="r"] .cell { border-top: ${CELL - 4}px solid transparent; background-clip: padding-box; }
  [data-state="m"] .cell { background: linear-gradient(to top, var(--reused) 50%, var(--computed) 50%); }
  [data-idle="true"] .text { color: var(--soft); }
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
 * Why a finished run reused nothing, in the user's words; null when it did reuse something or still runs.
 * `event` is the server's "dicache.step" object.
 */
export function whyNothing(event, words) {
  if (!event.finished || /[rm]/.test(event.cells)) return null;
  if (event.threshold === 0) return words.neverSkips;
  if (!event.cells.includes("c")) return words.onlyWarmUp;
  const errors = event.history.filter((error, step) => error !== null && event.cells[step] === "c");
  const smallest = Math.min(...errors);
  // Rules that look at no error, such as a fixed interval, and limits other than the threshold need no explanation.
  if (event.threshold === null || errors.length === 0 || smallest < event.threshold) return null;
  return words.errorTooLarge(short(smallest), short(event.threshold));
}

/** The two texts of the headline: where the run is and what it saved, and the measured speed-up ("" if unknown). */
export function headline(event, words) {
  const whole = !event.cells.includes("-");
  const progress = event.finished ? words.stopped : words.running;
  const text = whole
    ? words.saved(event.reused, event.steps)
    : `${progress(event.step, event.steps)} · ${words.savedSoFar(event.reused)}`;
  return [text, event.speedup === null ? "" : words.speedup(event.speedup.toFixed(2))];
}

/** The settings that the run used, whatever the widgets say: a widget's automatic value is decided on the server. */
export function usedSettings(event, words) {
  const known = Object.entries(words.settings).filter(([name]) => event[name] !== null);
  return known.map(([name, word]) => `${word} ${short(event[name])}`).join(" · ");
}

/** The strip. `element` goes into the page; `show(event)` draws one "dicache.step" object whole, as often as wanted. */
export class Strip {
  constructor(locale = "en") {
    this.words = wordsFor(locale);
    this.element = make("div", { class: "dicache-strip", role: "img" });
    this.text = make("span");
    this.speedup = make("span", { class: "speedup" });
    this.plot = make("div", { class: "plot" });
    this.settings = make("div", { class: "settings" });
    this.thresholdLine = make("div", { class: "line-at" });
    this.legend = make("div", { class: "line small legend" });
    this.box = make(
      "div",
      { class: "strip" },
      make("div", { class: "line text" }, this.text, this.speedup),
      this.settings,
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
    this.settings.title = event.policy;
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
    const entry = (state) => make("span", { "data-state": state }, make("i", { class: "cell" }), this.words.states[state]);
    this.legend.replaceChildren(...[...states].map(entry));
  }

  drawColumns(cells, errors, threshold) {
    const top = (threshold || Math.max(0, ...errors) || 1) / THRESHOLD_AT;
    const columns = [...cells].map((cell, step) => this.column(step, cell, errors[step] ?? null, top));
    this.thresholdLine.hidden = !threshold;
    this.plot.dataset.dense = String(cells.length > 80);
    this.plot.replaceChildren(...columns, this.thresholdLine);
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
