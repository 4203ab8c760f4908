// What the strip says, per language of the frontend. The node texts themselves live in locales/.

const english = {
  hint: "No run yet: its steps will show here",
  running: (step, steps) => `step ${step}/${steps}`,
  stopped: (step, steps) => `stopped at ${step}/${steps}`,
  skippedSoFar: (skipped) => `${skipped} steps skipped`,
  skipped: (skipped, steps) => `${skipped} of ${steps} steps skipped`,
  speedup: (factor) => `${factor}×`,
  methods: { dicache: "paper's method", foreseen: "this pack's method" },
  settings: {
    threshold: (value) => `threshold ${value}`,
    interval: (value) => `every ${value} steps`,
    target: (value) => (/x$/i.test(value) ? `${value.slice(0, -1)}×` : `${value} steps`),
    probe_depth: (value) => `probe ${value}`,
    warmup_steps: (value) => `warm-up ${value}`,
  },
  states: { w: "warm-up", c: "computed", r: "skipped", m: "mixed", l: "last", "-": "not yet" },
  column: (step, state) => `Step ${step}: ${state}`,
  error: (value) => `accumulated error ${value}`,
  nothing: {
    "threshold 0": () => "threshold 0 never skips a step",
    memory: () => "no memory left for the cache: all steps computed",
    "few steps": ({ steps }) => `${steps} steps are too few to skip any`,
    target: ({ steps, target }) => `target ${target} computes all ${steps} steps`,
    closed: () => "every step was warm-up: nothing to skip",
    "no history": () => "the model changed on every step: nothing to skip",
    interval: () => "interval 1 computes every step",
    error: ({ smallest, threshold }) => `smallest error ${smallest} is above threshold ${threshold}`,
  },
};

const chinese = {
  hint: "尚未运行：各步骤将显示在这里",
  running: (step, steps) => `第 ${step}/${steps} 步`,
  stopped: (step, steps) => `停在第 ${step}/${steps} 步`,
  skippedSoFar: (skipped) => `已跳过 ${skipped} 步`,
  skipped: (skipped, steps) => `${steps} 步中跳过 ${skipped} 步`,
  speedup: (factor) => `${factor}×`,
  methods: { dicache: "论文方法", foreseen: "本插件方法" },
  settings: {
    threshold: (value) => `阈值 ${value}`,
    interval: (value) => `每 ${value} 步`,
    target: (value) => (/x$/i.test(value) ? `${value.slice(0, -1)}×` : `${value} 步`),
    probe_depth: (value) => `探测 ${value}`,
    warmup_steps: (value) => `预热 ${value}`,
  },
  states: { w: "预热", c: "计算", r: "跳过", m: "混合", l: "最后一步", "-": "未执行" },
  column: (step, state) => `第 ${step} 步：${state}`,
  error: (value) => `累积误差 ${value}`,
  nothing: {
    "threshold 0": () => "阈值为 0 时不会跳过任何一步",
    memory: () => "没有内存可用于缓存，所有步骤均已计算",
    "few steps": ({ steps }) => `${steps} 步太少，没有可跳过的步骤`,
    target: ({ steps, target }) => `目标 ${target} 会计算全部 ${steps} 步`,
    closed: () => "所有步骤都是预热，没有可跳过的步骤",
    "no history": () => "模型在每一步都有变化，没有可跳过的步骤",
    interval: () => "间隔为 1 时每一步都会计算",
    error: ({ smallest, threshold }) => `最小误差 ${smallest} 高于阈值 ${threshold}`,
  },
};

const traditionalChinese = {
  hint: "尚未執行：各步驟會顯示在這裡",
  running: (step, steps) => `第 ${step}/${steps} 步`,
  stopped: (step, steps) => `停在第 ${step}/${steps} 步`,
  skippedSoFar: (skipped) => `已跳過 ${skipped} 步`,
  skipped: (skipped, steps) => `${steps} 步中跳過 ${skipped} 步`,
  speedup: (factor) => `${factor}×`,
  methods: { dicache: "論文方法", foreseen: "本套件方法" },
  settings: {
    threshold: (value) => `閾值 ${value}`,
    interval: (value) => `每 ${value} 步`,
    target: (value) => (/x$/i.test(value) ? `${value.slice(0, -1)}×` : `${value} 步`),
    probe_depth: (value) => `探測 ${value}`,
    warmup_steps: (value) => `預熱 ${value}`,
  },
  states: { w: "預熱", c: "計算", r: "跳過", m: "混合", l: "最後一步", "-": "未執行" },
  column: (step, state) => `第 ${step} 步：${state}`,
  error: (value) => `累積誤差 ${value}`,
  nothing: {
    "threshold 0": () => "閾值為 0 時不會跳過任何一步",
    memory: () => "沒有記憶體可用於快取，所有步驟均已計算",
    "few steps": ({ steps }) => `${steps} 步太少，沒有可跳過的步驟`,
    target: ({ steps, target }) => `目標 ${target} 會計算全部 ${steps} 步`,
    closed: () => "所有步驟都是預熱，沒有可跳過的步驟",
    "no history": () => "模型在每一步都有變化，沒有可跳過的步驟",
    interval: () => "間隔為 1 時每一步都會計算",
    error: ({ smallest, threshold }) => `最小誤差 ${smallest} 高於閾值 ${threshold}`,
  },
};

const japanese = {
  hint: "未実行：各ステップがここに表示されます",
  running: (step, steps) => `ステップ ${step}/${steps}`,
  stopped: (step, steps) => `ステップ ${step}/${steps} で停止`,
  skippedSoFar: (skipped) => `${skipped} ステップをスキップ`,
  skipped: (skipped, steps) => `${steps} ステップ中 ${skipped} をスキップ`,
  speedup: (factor) => `${factor}×`,
  methods: { dicache: "論文の手法", foreseen: "独自の手法" },
  settings: {
    threshold: (value) => `しきい値 ${value}`,
    interval: (value) => `${value} ステップごと`,
    target: (value) => (/x$/i.test(value) ? `${value.slice(0, -1)}×` : `${value} ステップ`),
    probe_depth: (value) => `プローブ ${value}`,
    warmup_steps: (value) => `ウォームアップ ${value}`,
  },
  states: { w: "ウォームアップ", c: "計算", r: "スキップ", m: "混在", l: "最終", "-": "未実行" },
  column: (step, state) => `ステップ ${step}：${state}`,
  error: (value) => `累積誤差 ${value}`,
  nothing: {
    "threshold 0": () => "しきい値 0 ではどのステップもスキップされません",
    memory: () => "キャッシュ用のメモリがなく、全ステップを計算しました",
    "few steps": ({ steps }) => `${steps} ステップでは少なすぎてスキップできません`,
    target: ({ steps, target }) => `目標 ${target} では全 ${steps} ステップを計算します`,
    closed: () => "全ステップがウォームアップでした",
    "no history": () => "モデルが毎ステップ変わり、スキップできません",
    interval: () => "間隔 1 では毎ステップ計算します",
    error: ({ smallest, threshold }) => `最小誤差 ${smallest} がしきい値 ${threshold} を超過`,
  },
};

const languages = { en: english, zh: chinese, "zh-TW": traditionalChinese, ja: japanese };

/** The words of a locale such as "zh" or "ja"; English where there is no translation. */
export function wordsFor(locale) {
  return languages[locale] ?? english;
}
