// Names for people in the menu of DiCache Policy, in groups. What a graph saves and the server gets stays the policy's id;
// a front end that knows no labels shows that.
import { app } from "../../scripts/app.js";
import { policyLabel } from "./labels.js";

app.registerExtension({
  name: "ComfyUI.DiCache.Policies",
  nodeCreated(node) {
    if (node.comfyClass !== "DiCachePolicy") return;
    const widget = node.widgets.find((candidate) => candidate.name === "policy");
    const locale = app.extensionManager.setting.get("Comfy.Locale");
    widget.options.getOptionLabel = (id) => policyLabel(id, locale);
  },
});
