// The live view: a strip on every DiCache Apply node, fed by the server's "dicache.step" events, and what DiCache Report
// shows. It only shows; a graph runs the same without it.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { Report, REPORT_HEIGHT } from "./report.js";
import { Strip, STRIP_HEIGHT } from "./strip.js";

const WIDGET = "dicache_strip";
const SHOWN = "DiCache.ShowStrip"; // the setting
const MARGIN = 6; // the classic renderer keeps this free around a DOM widget; Nodes 2.0 has its own gaps

/** node object -> its strip; a node that goes away takes its strip along. */
const strips = new WeakMap();
/** node object -> its report. */
const reports = new WeakMap();
/** "workflow id/node id" -> last event, so that a strip comes back when the user returns to a workflow tab. */
const latest = new Map();

const rootGraph = () => app.rootGraph ?? app.graph;

/** The node an execution id such as "12" or, within subgraphs, "1:2:3" stands for; undefined if it is not shown. */
function findNode(executionId) {
  const path = executionId.split(":");
  const own = path.pop();
  let graph = rootGraph();
  for (const id of path) graph = graph?.getNodeById(id)?.subgraph;
  return graph?.getNodeById(own) ?? undefined;
}

function show(event) {
  strips.get(findNode(event.node))?.show(event);
}

function receive({ detail: event }) {
  const workflow = event.workflow ?? rootGraph().id;
  latest.set(`${workflow}/${event.node}`, event);
  if (workflow === rootGraph().id) show(event);
}

const setting = (name) => app.extensionManager.setting.get(name);

/**
 * In the classic renderer the strip lies above the canvas, not in it: hand over what the strip has no use for, so that
 * zooming, dragging and the node's menu work there as everywhere on the node. Nodes 2.0 does this itself.
 */
function passToCanvas(event) {
  if (setting("Comfy.VueNodes.Enabled")) return;
  event.preventDefault();
  app.canvas.canvas.dispatchEvent(new event.constructor(event.type, event));
}

/** Every node on the canvas and within subgraphs. */
const allNodes = () => [rootGraph(), ...(rootGraph().subgraphs?.values() ?? [])].flatMap((graph) => graph.nodes);

/** Show one of the pack's elements on a node, at least (and at most, where given) so many pixels high. */
function addElement(node, name, element, least, most) {
  for (const type of ["wheel", "pointerdown", "contextmenu"]) element.addEventListener(type, passToCanvas);
  const widget = node.addDOMWidget(name, name.toUpperCase(), element, {
    serialize: false, // not part of the prompt ...
    hideOnZoom: false,
    hideInPanel: true, // the properties panel lists what can be edited
    margin: MARGIN,
    getMinHeight: () => least + 2 * MARGIN,
    ...(most && { getMaxHeight: () => most + 2 * MARGIN }),
  });
  widget.serialize = false; // ... nor of the saved workflow
}

function addStrip(node) {
  const strip = new Strip(setting("Comfy.Locale"));
  strips.set(node, strip);
  addElement(node, WIDGET, strip.element, STRIP_HEIGHT, STRIP_HEIGHT);
}

/** "workflow id/graph id/node id" -> what a report shows, so that it comes back with its workflow's tab. */
const reported = new Map();
const reportKey = (node) => `${rootGraph().id}/${node.graph?.id}/${node.id}`;

function addReport(node) {
  const report = new Report(setting("Comfy.Locale"));
  reports.set(node, report);
  addElement(node, "dicache_report", report.element, REPORT_HEIGHT);
  const onExecuted = node.onExecuted;
  node.onExecuted = function (output) {
    onExecuted?.apply(this, arguments);
    reported.set(reportKey(this), output);
    report.show(output);
  };
}

function removeStrip(node) {
  strips.delete(node);
  const height = node.size[1] - STRIP_HEIGHT - 2 * MARGIN;
  node.removeWidget(node.widgets.find((widget) => widget.name === WIDGET));
  node.setSize([node.size[0], Math.max(height, node.computeSize()[1])]);
}

/** Give every node a strip, or take them all away. */
function showStrips(shown) {
  for (const node of allNodes().filter((node) => node.comfyClass === "DiCacheApply" && strips.has(node) !== shown)) {
    if (shown) addStrip(node);
    else removeStrip(node);
  }
  showLatest();
}

function showLatest() {
  for (const [key, event] of latest) if (key.startsWith(`${rootGraph().id}/`)) show(event);
  for (const node of allNodes()) {
    const output = reported.get(reportKey(node));
    if (output) reports.get(node)?.show(output);
  }
}

app.registerExtension({
  name: "ComfyUI.DiCache",
  settings: [
    {
      id: SHOWN,
      name: "Show the steps of a run on DiCache Apply",
      category: ["DiCache", "Appearance", "Strip"],
      type: "boolean",
      defaultValue: true,
      onChange: (shown) => rootGraph() && showStrips(shown),
    },
  ],
  setup() {
    api.addEventListener("dicache.step", receive);
  },
  nodeCreated(node) {
    if (node.comfyClass === "DiCacheApply" && setting(SHOWN)) addStrip(node);
    if (node.comfyClass === "DiCacheReport") addReport(node);
  },
  afterConfigureGraph: showLatest,
});
