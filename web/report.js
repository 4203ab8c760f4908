// What DiCache Report shows on its node: each run in words (the server's own in English), then step by step the error of
// every sample and the seconds. An element of the page and not a picture, so it follows theme and size and its text can be copied.
import { legendOf, make, Plot, PLOT_STYLE, short, statesOf } from "./plot.js";
import { summaryOf, unitOf } from "./summary.js";
import { wordsFor } from "./words.js";

/** Least height of the report in pixels. */
export const REPORT_HEIGHT = 310;

const MOST_SAMPLES = 4;
const STYLE = `
  ${PLOT_STYLE}
  :host { display: block; height: 100%; min-height: ${REPORT_HEIGHT}px; }
  .report {
    box-sizing: border-box; height: 100%; min-height: inherit; padding: 9px 11px; border-radius: 8px;
    background: var(--paper); display: flex; flex-direction: column; gap: 12px; overflow: auto;
  }
  .run { flex: 1 0 auto; display: flex; flex-direction: column; gap: 4px; }
  .text { margin: 0; white-space: pre-line; line-height: 1.4; user-select: text; cursor: text; }
  .text::first-line { font-size: 13px; font-weight: 600; }
  .plot { flex: 1 0 54px; }
  .title { margin-top: 6px; }
  .ticks { display: flex; justify-content: space-between; }
`;

/** One letter for a decision, as in a run's cells. */
function cellOf(decision) {
  if (decision.reuse) return decision.share == null ? "r" : "p";
  return { "warm-up": "w", "last step": "l" }[decision.reason] ?? "c";
}

/** The report. `element` goes into the page; `show({text, dicache})` draws what the server's node returned as `ui`. */
export class Report {
  constructor(locale = "en") {
    this.words = wordsFor(locale);
    this.translated = this.words !== wordsFor("en");
    this.box = make("div", { class: "report", tabindex: "0" });
    this.element = make("div", { class: "dicache-report" });
    this.element.attachShadow({ mode: "open" }).append(make("style", {}, STYLE), this.box);
    this.show({ text: [this.words.hint], dicache: [] });
  }

  show({ text, dicache: runs }) {
    if (runs.length === 0) return this.box.replaceChildren(make("p", { class: "text" }, ...text));
    this.box.replaceChildren(...runs.map((run, number) => this.run(run, text[number])));
  }

  run(run, text) {
    const measured = run.samples.filter((sample) => sample.steps.some((step) => step.accumulated > 0));
    const drawn = measured.slice(0, MOST_SAMPLES).flatMap((sample) => this.errors(run, sample, run.samples.length > 1));
    return make(
      "div",
      { class: "run" },
      make("p", { class: "text" }, this.translated ? summaryOf(run, this.words) : text),
      ...drawn,
      ...this.seconds(run),
      make("div", { class: "small ticks" }, make("span", {}, "1"), make("span", {}, String(run.cells.length))),
      make("div", { class: "small legend" }, ...legendOf(statesOf(run), this.words)),
    );
  }

  /** The error of one sample, of a rule that measures one; a threshold that is not in force, or another at every step, has no line. */
  errors(run, sample, several) {
    const cells = Array(run.cells.length).fill("-");
    const errors = Array(run.cells.length).fill(null);
    for (const { step, accumulated, ...decision } of sample.steps) {
      cells[step] = cellOf(decision);
      errors[step] = accumulated;
    }
    const { words } = this;
    const { threshold } = run.effective;
    const title = [
      words.report.errors,
      several && words.say(words.report.sample, { role: this.roleOf(sample), row: sample.row + 1 }),
      threshold && words.say(words.settings.threshold, { value: short(threshold) }),
    ];
    return this.plot(run, title.filter(Boolean).join(" · "), cells.join(""), errors, threshold);
  }

  /** "positive", and "positive 2" for the second of that role. */
  roleOf({ role, number }) {
    const name = this.words.report.roles[role] ?? role;
    return number > 1 ? `${name} ${number}` : name;
  }

  seconds(run) {
    return this.plot(run, this.words.report.seconds, run.cells, run.seconds_per_step, null, this.words.report.second, run.shares);
  }

  plot(run, title, ...drawing) {
    const plot = new Plot(this.words);
    plot.unit = unitOf(run, this.words);
    plot.draw(...drawing);
    return [make("div", { class: "small title" }, title), plot.element];
  }
}
