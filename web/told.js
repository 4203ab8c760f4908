// A run in the user's words: what the strip says of it while it goes on, and what the report says at its end.
import { short } from "./plot.js";

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

/** How many steps were computed against the plan, as the model's own forecasts were off; "" for none. */
export function whatWasVetoed(event, words) {
  return event.vetoed ? words.vetoed(event.vetoed) : "";
}

/**
 * The two texts of the headline: where the run is, what it skipped and, at its end, how close the picture is; and the
 * measured speed-up ("" if unknown).
 */
export function headline(event, words) {
  const whole = !event.cells.includes("-");
  const progress = event.finished ? words.stopped : words.running;
  const close = words.closeness[event.closeness];
  const text = whole
    ? [words.skipped(event.reused, event.steps), close].filter(Boolean).join(" · ")
    : `${progress(event.step, event.steps)} · ${words.skippedSoFar(event.reused)}`;
  return [text, event.speedup === null ? "" : words.speedup(event.speedup.toFixed(2))];
}

/** Method and numbers that were in force, whatever the widgets say: an automatic value is decided on the server. */
export function usedSettings(event, words) {
  const tuned = event.tuned && words.tuned[event.tuned.found]({ ...event.tuned, wish: words.wishes[event.tuned.wish] ?? event.tuned.wish });
  const method = words.methods[event.policy] ?? event.policy?.replaceAll("_", " ");
  const known = Object.entries(words.settings).filter(([name]) => event[name] !== null);
  const number = (value) => (typeof value === "number" ? short(value) : value);
  return [tuned, method, ...known.map(([name, say]) => say(number(event[name])))].filter(Boolean).join(" · ");
}

/** Lines about a finished run, `run` being what DiCache Report's node returned of it. */
export function told(run, words) {
  const step = run.cells.replaceAll("-", "").length;
  const event = { ...run, ...run.in_force, step, warmup_steps: run.settings.warmup_steps };
  const [skipped] = headline(event, words);
  const seconds = (value) => value.toFixed(2);
  return [
    `${run.name} · ${skipped}`,
    run.speedup === null ? "" : words.report.spent(seconds(run.seconds), seconds(run.seconds_saved), seconds(run.speedup)),
    usedSettings(event, words),
    words.report.held(`${short(run.held_bytes / 2 ** 20)} MiB`),
    whyNothing(event, words) ?? whatWasVetoed(event, words),
  ].filter(Boolean).join("\n");
}
