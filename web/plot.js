// A run as columns, one per sampling step (or evaluation of the model, where there are more): below a cell in the state's colour and shape, above it a bar. The strip and
// the report draw with it.

const STATES = "wcrmlp";
/** The threshold line sits at this share of the plot's height, so an error above it has room to show. */
const THRESHOLD_AT = 0.68;
/** Height in pixels of the row of cells below the bars. */
const CELL = 9;

// A state is told by its shape as well as by its colour: a computed step is a whole cell, warm-up a hatched one, a skipped
// step a thin one, because little was done. Text and ground are the theme's own for a node.
export const PLOT_STYLE = `
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
    box-sizing: border-box;
    width: 100%;
    min-width: 0;
    overflow: hidden;
    color: var(--ink);
    font: 11px/1.25 Inter, system-ui, sans-serif;
    font-variant-numeric: tabular-nums;
  }
  .small { font-size: 10px; color: var(--soft); }
  .legend { display: flex; flex-wrap: wrap; gap: 0 10px; align-items: baseline; }
  .legend b { font-weight: 500; color: var(--ink); }
  .legend span { display: inline-flex; align-items: center; gap: 4px; }
  .legend .cell { width: 9px; }
  .plot {
    position: relative; flex: 1; min-height: 0; display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 1px;
  }
  .plot[data-dense="true"] { gap: 0; }
  .column { min-width: 0; display: flex; flex-direction: column; gap: 2px; }
  .column:hover, .column[data-chosen] { background: var(--faint); }
  :focus-visible { outline: 2px solid var(--reused); outline-offset: 1px; }
  .chosen {
    position: absolute; inset: 0 0 auto auto; padding: 1px 5px; border-radius: 4px; background: var(--paper);
    border: 1px solid var(--soft); pointer-events: none;
  }
  .chosen:empty { display: none; }
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
  [data-state="r"], [data-state="m"], [data-state="p"] { --state: var(--reused); }
  [data-state="w"] .cell, [data-state="l"] .cell {
    border: 1px solid var(--warm);
    background: repeating-linear-gradient(135deg, var(--warm) 0 1.5px, transparent 1.5px 3.5px);
  }
  [data-state="r"] .cell { border-top: ${CELL - 4}px solid transparent; background-clip: padding-box; }
  [data-state="m"] .cell { background: linear-gradient(to top, var(--reused) 50%, var(--computed) 50%); }
  [data-state="p"] .cell { background: linear-gradient(to top, var(--computed) var(--ran, 50%), var(--reused) var(--ran, 50%)); }
  [hidden] { display: none !important; }
`;

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Three significant digits without trailing zeros: 0.4, 0.0312, 1.42. */
export const short = (value) => String(Number(value.toPrecision(3)));

/** The names of states with a cell of each. */
export function legendOf(states, words) {
  const entry = (state) => make("span", { "data-state": state }, make("i", { class: "cell" }), words.states[state]);
  return [...states].map(entry);
}

/** The states of a run that are explained below it. */
export const statesOf = ({ cells }) => "wcr" + [..."mp"].filter((state) => cells.includes(state)).join("");

/** Keys -> the column they choose, of `last + 1` columns. */
const MOVES = {
  ArrowLeft: (at) => at - 1,
  ArrowRight: (at) => at + 1,
  Home: () => 0,
  End: (_, last) => last,
};

/**
 * Columns of steps. `values` are the bars' (null draws none), `text` names a value in the column's tooltip. By keyboard the
 * arrow keys go from column to column, and what its tooltip says is shown and read out.
 */
export class Plot {
  constructor(words) {
    this.words = words;
    this.unit = words.units.step; // what a column is
    this.element = make("div", { class: "plot", tabindex: "0", role: "group" });
    this.told = make("div", { class: "small chosen", role: "status" });
    this.at = null; // the chosen column
    this.element.addEventListener("keydown", (event) => this.move(event));
    this.element.addEventListener("blur", () => this.choose(null));
    this.thresholdLine = make("div", { class: "line-at" });
  }

  /** `cells` one letter per step, `threshold` null where there is no line, `shares` of its blocks that ran in each. */
  draw(cells, values, threshold, text = this.words.error, shares = null) {
    this.top = threshold ? threshold / THRESHOLD_AT : Math.max(0, ...values) || 1;
    const columns = [...cells].map((cell, step) => this.column(step, cell, values[step] ?? null, text, shares?.[step]));
    this.columns = columns;
    this.thresholdLine.hidden = !threshold;
    this.element.dataset.dense = String(cells.length > 80);
    this.element.replaceChildren(...columns, this.thresholdLine, this.told);
    this.choose(this.at);
  }

  move(event) {
    const last = this.columns.length - 1;
    const to = MOVES[event.key]?.(this.at ?? (event.key === "ArrowLeft" ? last + 1 : -1), last);
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation(); // else it moves what is selected on the canvas
    this.choose(Math.min(last, Math.max(0, to)));
  }

  choose(at) {
    this.at = at;
    this.columns?.forEach((column, step) => column.toggleAttribute("data-chosen", step === at));
    this.told.textContent = this.columns?.[at]?.title ?? "";
  }

  column(step, cell, value, text, share) {
    const state = STATES.includes(cell) ? cell : "-";
    const bar = make("div", { class: "bar" });
    if (value !== null) bar.style.height = `${Math.min(100, (100 * value) / this.top)}%`;
    const column = make(
      "div",
      { class: "column", "data-state": state },
      make("div", { class: "room" }, bar),
      make("div", { class: "cell" }),
    );
    if (state === "p" && share !== undefined) column.style.setProperty("--ran", `${100 * share}%`); // filled from below
    column.title = this.words.say(this.unit.column, { number: step + 1, state: this.words.states[state] });
    if (state === "p" && share !== undefined) column.title += ` ${Math.round(100 * share)}%`;
    if (value !== null) column.title += ` · ${this.words.say(text, { value: short(value) })}`;
    return column;
  }
}
