// The policies' names, and the groups that they stand in on the menu of DiCache Policy, per language of the front end.

const NAMES = {
  dicache: ["paper", "DiCache"],
  dicache_delta_minus: ["paper", "DiCache (delta-minus)"],
  foreseen: ["own", "foreseen"],
  corrected_line: ["own", "corrected line"],
  trajectory_error: ["own", "trajectory error"],
  trajectory_error_output: ["own", "trajectory error (output)"],
  output_line: ["own", "output line"],
  output_reuse: ["own", "last output"],
  fbcache: ["every step", "FBCache"],
  teacache: ["every step", "TeaCache"],
  easycache: ["every step", "EasyCache"],
  seacache: ["every step", "SeaCache"],
  worldcache: ["every step", "WorldCache"],
  sensitivity: ["every step", "sensitivity (SenCache)"],
  magcache: ["calibrated", "MagCache"],
  smoothcache: ["calibrated", "SmoothCache"],
  procache: ["calibrated", "ProCache"],
  meancache: ["calibrated", "MeanCache"],
  taylorseer_1: ["interval", "TaylorSeer 1"],
  taylorseer_2: ["interval", "TaylorSeer 2"],
  foca: ["interval", "FoCa"],
  hyca: ["interval", "HyCa"],
  hicache: ["interval", "HiCache"],
  freqca: ["interval", "FreqCa"],
  tc_pade: ["interval", "rational (TC-Padé)"],
  cachequant: ["interval", "CacheQuant"],
  fastercache: ["interval", "FasterCache"],
  spectrum: ["interval", "Spectrum"],
  spectrum_output: ["interval", "Spectrum (output)"],
  fixed_interval: ["interval", "last result"],
  deepcache: ["interval", "DeepCache"],
  step_mask: ["plan", "step mask"],
};

const GROUPS = {
  en: { paper: "the paper", own: "this pack", "every step": "judges every step", calibrated: "by calibration", interval: "every n-th step", plan: "by hand" },
  zh: { paper: "论文", own: "本插件", "every step": "每步判断", calibrated: "按校准", interval: "每 n 步", plan: "手动" },
  "zh-TW": { paper: "論文", own: "本套件", "every step": "每步判斷", calibrated: "依校準", interval: "每 n 步", plan: "手動" },
  ja: { paper: "論文", own: "独自", "every step": "毎ステップ判断", calibrated: "キャリブレーション", interval: "n ステップごと", plan: "手動" },
};

/** "foca" -> "FoCa · every n-th step"; an id that has no name stays as it is. */
export function policyLabel(id, locale) {
  if (!(id in NAMES)) return id;
  const [group, name] = NAMES[id];
  return `${name} · ${(GROUPS[locale] ?? GROUPS.en)[group]}`;
}
