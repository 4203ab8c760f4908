// What the strip says, per language of the frontend. The node texts themselves live in locales/.

const english = {
  hint: "No run yet: its steps will show here",
  running: (step, steps) => `step ${step}/${steps}`,
  stopped: (step, steps) => `stopped at ${step}/${steps}`,
  savedSoFar: (reused) => `${reused} steps saved`,
  saved: (reused, steps) => `${reused} of ${steps} steps saved`,
  speedup: (factor) => `${factor}×`,
  settings: { threshold: "threshold", probe_depth: "probe", warmup_steps: "warm-up" },
  states: { w: "warm-up", c: "computed", r: "reused", m: "mixed", l: "last", "-": "not yet" },
  column: (step, state) => `Step ${step}: ${state}`,
  error: (value) => `accumulated error ${value}`,
  neverSkips: "threshold 0 never skips a step",
  onlyWarmUp: "every step was warm-up: nothing to reuse",
  errorTooLarge: (error, threshold) => `smallest error ${error} is above threshold ${threshold}`,
  report: {
    errors: "accumulated error",
    seconds: "seconds",
    second: (value) => `${value} s`,
    lane: (stream, row) => `stream ${stream}, sample ${row}`,
  },
};

const chinese = {
  hint: "尚未运行：各步骤将显示在这里",
  running: (step, steps) => `第 ${step}/${steps} 步`,
  stopped: (step, steps) => `停在第 ${step}/${steps} 步`,
  savedSoFar: (reused) => `已省去 ${reused} 步`,
  saved: (reused, steps) => `${steps} 步中省去 ${reused} 步`,
  speedup: (factor) => `${factor}×`,
  settings: { threshold: "阈值", probe_depth: "探测", warmup_steps: "预热" },
  states: { w: "预热", c: "计算", r: "复用", m: "混合", l: "最后一步", "-": "未执行" },
  column: (step, state) => `第 ${step} 步：${state}`,
  error: (value) => `累积误差 ${value}`,
  neverSkips: "阈值为 0 时不会跳过任何一步",
  onlyWarmUp: "所有步骤都是预热，没有可复用的",
  errorTooLarge: (error, threshold) => `最小误差 ${error} 高于阈值 ${threshold}`,
  report: {
    errors: "累积误差",
    seconds: "秒",
    second: (value) => `${value} 秒`,
    lane: (stream, row) => `流 ${stream}，样本 ${row}`,
  },
};

const japanese = {
  hint: "未実行：各ステップがここに表示されます",
  running: (step, steps) => `ステップ ${step}/${steps}`,
  stopped: (step, steps) => `ステップ ${step}/${steps} で停止`,
  savedSoFar: (reused) => `${reused} ステップ省略`,
  saved: (reused, steps) => `${steps} ステップ中 ${reused} を省略`,
  speedup: (factor) => `${factor}×`,
  settings: { threshold: "しきい値", probe_depth: "プローブ", warmup_steps: "ウォームアップ" },
  states: { w: "ウォームアップ", c: "計算", r: "再利用", m: "混在", l: "最終", "-": "未実行" },
  column: (step, state) => `ステップ ${step}：${state}`,
  error: (value) => `累積誤差 ${value}`,
  neverSkips: "しきい値 0 ではどのステップも省略されません",
  onlyWarmUp: "全ステップがウォームアップでした",
  errorTooLarge: (error, threshold) => `最小誤差 ${error} がしきい値 ${threshold} を超過`,
  report: {
    errors: "累積誤差",
    seconds: "秒",
    second: (value) => `${value} 秒`,
    lane: (stream, row) => `ストリーム ${stream}、サンプル ${row}`,
  },
};

const languages = { en: english, zh: chinese, ja: japanese };

/** The words of a locale such as "zh" or "ja"; English where there is no translation. */
export function wordsFor(locale) {
  return languages[locale] ?? english;
}
