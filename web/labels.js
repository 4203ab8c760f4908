// Names for people of what the pack's menus offer.  Those of policies and presets are made, see names.js.
import { POLICIES, PRESETS } from "./names.js";

/** "foca" -> "FoCa · every n-th step"; an id that has no name stays as it is. */
export const policyLabel = (id, locale) => (POLICIES[locale] ?? POLICIES.en)[id] ?? id;

/** "balanced" -> "balanced, up to 2x"; an id that has no label stays as it is. */
export const presetLabel = (id, locale) => (PRESETS[locale] ?? PRESETS.en)[id] ?? id;

const NONE = { en: "none", zh: "无", "zh-TW": "無", ja: "なし" };

/** A saved calibration is called by its name. */
export const calibrationLabel = (name, locale) => name || (NONE[locale] ?? NONE.en);
