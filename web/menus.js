// Names for people in the menus of the pack's nodes. What a graph saves and the server gets stays the id; a front end that
// knows no labels shows that.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { calibrationLabel, policyLabel, presetLabel } from "./labels.js";

const LABELS = {
  DiCacheApply: { preset: presetLabel },
  DiCacheApplyRay: { preset: presetLabel },
  DiCachePolicy: { policy: policyLabel, curve: calibrationLabel },
};
const saved = new Set(); // calibrations of this session: the front end asks for a node's lists once only

/** Offer a calibration in the menu of a DiCache Policy. */
function offer(node, name) {
  const { options } = node.widgets.find((widget) => widget.name === "curve");
  if (!options.values.includes(name)) options.values = [...options.values, name];
}

app.registerExtension({
  name: "ComfyUI.DiCache.Labels",
  setup() {
    api.addEventListener("executed", ({ detail }) => {
      for (const { curve } of detail.output?.dicache ?? []) {
        if (curve) saved.add(curve);
      }
      const policies = (app.rootGraph ?? app.graph).nodes.filter((node) => node.comfyClass === "DiCachePolicy");
      for (const node of policies) saved.forEach((name) => offer(node, name));
    });
  },
  nodeCreated(node) {
    const locale = app.extensionManager.setting.get("Comfy.Locale");
    for (const [name, label] of Object.entries(LABELS[node.comfyClass] ?? {})) {
      const widget = node.widgets.find((candidate) => candidate.name === name);
      widget.options.getOptionLabel = (id) => label(id, locale);
    }
    if (node.comfyClass === "DiCachePolicy") saved.forEach((name) => offer(node, name));
  },
});
