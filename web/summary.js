// A run in the user's words: what the strip says of it while it goes on, and what the report says at its end. `run` is the
// server's JSON of a run, the same in an event, a report, an image's metadata and the history.
import { short } from "./plot.js";

const SAME = 100; // decibels that stand for no difference at all

/** Why a finished run skipped nothing; null when it did skip something or still goes on. */
export function whyNothing(run, words) {
  if (!run.nothing) return null;
  const { reason, smallest, other, until, open_steps } = run.nothing;
  const { threshold, target } = run.effective;
  const values = {
    steps: run.steps, total: run.steps_before + run.steps + run.steps_after, target, other, open_steps,
    until: `${Math.round(until * 100)}%`, smallest: number(smallest), threshold: number(threshold),
  };
  return words.say(words.nothing[reason], values) ?? null;
}

/** Numbers in three digits; what is no number as it is. */
const number = (value) => (typeof value === "number" ? short(value) : value);

/** How many planned skips were cancelled, as the predictions were off; "" for none. */
export function whatWasVetoed(run, words) {
  return run.vetoed ? words.say(words.vetoed, { skips: run.vetoed }) : "";
}

/** What a run's cells are: steps where the sampler evaluates the model once for each. */
export const unitOf = (run, words) => words.units[run.cells.length === run.steps ? "step" : "evaluation"];

/** The two texts of the headline: where the run is and what it skipped; and the measured speed-up ("" if unknown). */
export function headline(run, words) {
  const unit = unitOf(run, words);
  const whole = !run.cells.includes("-");
  const all = run.cells.length;
  const ran = run.shares?.reduce((sum, share) => sum + share, 0).toFixed(1);
  const values = { number: run.cells.replaceAll("-", "").length, all, skipped: run.reused, ran };
  const [progress, counted] = whole ? ["", unit.skipped] : [run.finished ? unit.stopped : unit.running, unit.skippedSoFar];
  const skipped = ran === undefined ? counted : whole ? unit.ran : unit.ranSoFar;
  const text = [progress, skipped].filter(Boolean).map((part) => words.say(part, values)).join(" · ");
  return [text, run.speedup === null ? "" : words.say(words.speedup, { factor: run.speedup.toFixed(2) })];
}

/** How close the image of a whole run is; "" while it goes on, and where nobody knows. */
export const howClose = (run, words) => (run.cells.includes("-") ? "" : words.closeness[run.closeness] ?? "");

/** Method and numbers that were in force, whatever the widgets say: an automatic value is decided on the server. */
export function usedSettings(run, words) {
  const { threshold, interval, target, probe_depth, warmup_steps } = run.effective;
  const [speed, computed] = /x$/i.test(target) ? [target.slice(0, -1), null] : [null, target];
  const numbers = Object.entries({ threshold, interval, speed, computed, probe_depth, warmup_steps });
  return [
    run.tuned && words.say(words.tuned[run.tuned.found], { ...run.tuned, goal: words.goals[run.tuned.goal] ?? run.tuned.goal }),
    words.methods[run.policy] ?? run.policy?.replaceAll("_", " "),
    ...numbers.map(([name, value]) => value !== null && words.say(words.settings[name], { value: number(value) })),
    words.compiler[run.compiler],
  ].filter(Boolean).join(" · ");
}

/** Lines about a finished run. */
export function summaryOf(run, words) {
  const { report } = words;
  const [skipped] = headline(run, words);
  const seconds = (value) => value.toFixed(2);
  const spent = run.speedup !== null && {
    seconds: seconds(run.seconds), saved: seconds(run.seconds_saved), factor: seconds(run.speedup),
  };
  return [
    `${run.name} · ${skipped}`,
    spent && words.say(report.spent, spent),
    usedSettings(run, words),
    words.say(report.held, { size: `${short(run.held_bytes / 2 ** 20)} MiB` }),
    report.closeness[run.closeness],
    whyNothing(run, words) ?? whatWasVetoed(run, words),
  ].filter(Boolean).join("\n");
}

/** What DiCache Tune, Compare or Calibrate found, by what their nodes returned; null where the server's own words serve. */
export function toldResult(found, words) {
  if (!words.result || !found?.length) return null;
  const { curve, name, steps } = found[0];
  if (curve) return words.say(words.result.calibrated, { name: curve, model: name, steps });
  return found[0].trials ? toldTuning(found[0], words) : toldComparison(found, words);
}

function toldTuning(report, words) {
  const { result } = words;
  const chosen = report.trials.find((trial) => trial.chosen);
  const psnr = Math.min(...chosen.pictures.map((image) => image.psnr));
  const ssim = Math.min(...chosen.pictures.map((image) => image.ssim));
  const found = {
    name: report.chosen,
    goal: words.goals[report.goal] ?? report.goal,
    speed: chosen.speed.toFixed(2),
    quality: psnr >= SAME ? result.same : `${psnr.toFixed(1)} dB, SSIM ${ssim.toFixed(3)}`,
    settings: report.trials.length,
    runs: report.full_runs.toFixed(1),
    computed: chosen.computed,
    all: chosen.calls,
    why: report.not_saved,
  };
  const everything = chosen === report.trials[0];
  const texts = [
    everything ? result.everything : report.granted ? result.chosen : result.fastest,
    result.cost,
    report.plan_search.not_searched ? result.noSearch[report.plan_search.not_searched] : chosen.plan ? null : result.noBetterPlan,
    report.not_saved ? result.notSaved : result.saved,
  ];
  return texts.filter(Boolean).map((text) => words.say(text, found)).join("\n");
}

function toldComparison(rows, words) {
  const { result } = words;
  const quality = (row) => (row.psnr === null ? result.same : `PSNR ${row.psnr.toFixed(1)} dB, SSIM ${row.ssim.toFixed(3)}`);
  const line = (row, at) => {
    const { label, computed, evaluations: all } = row;
    const cost = words.say(result.row, { label, seconds: short(row.seconds), speed: row.speedup.toFixed(2), computed, all });
    if (row.failed) return `${cost} · ${words.say(result.failed, { why: row.failed })}`;
    return at === 0 ? cost : `${cost} · ${quality(row)}`;
  };
  return [...rows.map(line), result.against].join("\n");
}
