// A run in the user's words: what the strip says of it while it goes on, and what the report says at its end.
import { short } from "./plot.js";

const SAME = 100; // decibels that stand for no difference at all

/**
 * Why a finished run skipped nothing, in the user's words; null when it did skip something or still runs.
 * `event` is the server's "dicache.step" object.
 */
export function whyNothing(event, words) {
  if (!event.nothing) return null;
  const { reason, smallest, other } = event.nothing;
  const shown = (value) => (value === null ? "" : short(value));
  return words.nothing[reason]?.({ ...event, other, smallest: shown(smallest), threshold: shown(event.threshold) }) ?? null;
}

/** How many planned skips were cancelled, as the predictions were off; "" for none. */
export function whatWasVetoed(event, words) {
  return event.vetoed ? words.vetoed(event.vetoed) : "";
}

/** How many cells a run has got, of how many; of steps where the sampler evaluates the model once for each. */
export const unitOf = (event, words) => words.units[event.cells.length === event.steps ? "step" : "evaluation"];

/** The two texts of the headline: where the run is and what it skipped; and the measured speed-up ("" if unknown). */
export function headline(event, words) {
  const whole = !event.cells.includes("-");
  const unit = unitOf(event, words);
  const progress = event.finished ? unit.stopped : unit.running;
  const text = whole
    ? unit.skipped(event.reused, event.cells.length)
    : `${progress(event.cells.replaceAll("-", "").length, event.cells.length)} · ${unit.skippedSoFar(event.reused)}`;
  return [text, event.speedup === null ? "" : words.speedup(event.speedup.toFixed(2))];
}

/** How close the image of a whole run is; "" while it runs, and where nobody knows. */
export const howClose = (event, words) => (event.cells.includes("-") ? "" : words.closeness[event.closeness] ?? "");

/** Method and numbers that were in force, whatever the widgets say: an automatic value is decided on the server. */
export function usedSettings(event, words) {
  const tuned = event.tuned && words.tuned[event.tuned.found]({ ...event.tuned, goal: words.goals[event.tuned.goal] ?? event.tuned.goal });
  const method = words.methods[event.policy] ?? event.policy?.replaceAll("_", " ");
  const known = Object.entries(words.settings).filter(([name]) => event[name] !== null);
  const number = (value) => (typeof value === "number" ? short(value) : value);
  const numbers = known.map(([name, say]) => say(number(event[name])));
  return [tuned, method, ...numbers, words.compiler[event.compiler]].filter(Boolean).join(" · ");
}

/** What the strip shows of a run that the server told of whole, in a report or in an image's metadata. */
export const eventOf = (run) => ({ history: [], ...run, ...run.effective, warmup_steps: run.settings.warmup_steps });

/** Lines about a finished run, `run` being what DiCache Report's node returned of it. */
export function summaryOf(run, words) {
  const event = eventOf(run);
  const [skipped] = headline(event, words);
  const seconds = (value) => value.toFixed(2);
  return [
    `${run.name} · ${skipped}`,
    run.speedup === null ? "" : words.report.spent(seconds(run.seconds), seconds(run.seconds_saved), seconds(run.speedup)),
    usedSettings(event, words),
    words.report.held(`${short(run.held_bytes / 2 ** 20)} MiB`),
    words.report.closeness[run.closeness],
    whyNothing(event, words) ?? whatWasVetoed(event, words),
  ].filter(Boolean).join("\n");
}

/** What DiCache Tune, Compare or Calibrate found, by what their nodes returned; null where the server's own words serve. */
export function toldResult(found, words) {
  if (!words.result || !found?.length) return null;
  if (found[0].curve) return words.result.calibrated(found[0].curve, found[0].name, found[0].steps);
  return found[0].trials ? toldTuning(found[0], words) : toldComparison(found, words);
}

function toldTuning(report, words) {
  const { result } = words;
  const chosen = report.trials.find((trial) => trial.chosen);
  const psnr = Math.min(...chosen.pictures.map((image) => image.psnr));
  const ssim = Math.min(...chosen.pictures.map((image) => image.ssim));
  const quality = psnr >= SAME ? result.same : `${psnr.toFixed(1)} dB, SSIM ${ssim.toFixed(3)}`;
  const found = [report.chosen, chosen.speed.toFixed(2), quality];
  const goal = words.goals[report.goal] ?? report.goal;
  const everything = chosen === report.trials[0];
  return [
    everything ? result.everything(goal) : report.granted ? result.chosen(...found) : result.fastest(goal, ...found),
    result.cost(report.trials.length, report.full_runs.toFixed(1), chosen.computed, chosen.calls),
    report.not_saved ? result.notSaved(report.not_saved) : result.saved,
  ].join("\n");
}

function toldComparison(rows, words) {
  const { result } = words;
  const quality = (row) => (row.psnr === null ? result.same : `PSNR ${row.psnr.toFixed(1)} dB, SSIM ${row.ssim.toFixed(3)}`);
  const line = (row, at) => {
    const cost = result.row(row.label, short(row.seconds), row.speedup.toFixed(2), row.computed, row.evaluations);
    if (row.failed) return `${cost} · ${result.failed(row.failed)}`;
    return at === 0 ? cost : `${cost} · ${quality(row)}`;
  };
  return [...rows.map(line), result.against].join("\n");
}
