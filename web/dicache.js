// The live view: a strip on every DiCache Apply node, fed by the server's "dicache.step" events. It only shows; a graph
// runs the same without it.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { Strip, STRIP_HEIGHT } from "./strip.js";

const NODE = "DiCacheApply";
const WIDGET = "dicache_strip";
const SHOWN = "DiCache.ShowStrip"; // the setting
const MARGIN = 6; // the classic renderer keeps this free around a DOM widget; Nodes 2.0 has its own gaps

/** node object -> its strip; a node that goes away takes its strip along. */
const strips = new WeakMap();
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

function addStrip(node) {
  const strip = new Strip(setting("Comfy.Locale"));
  strips.set(node, strip);
  for (const type of ["wheel", "pointerdown", "contextmenu"]) strip.element.addEventListener(type, passToCanvas);
  const height = () => STRIP_HEIGHT + 2 * MARGIN;
  const widget = node.addDOMWidget(WIDGET, "DICACHE_STRIP", strip.element, {
    serialize: false, // not part of the prompt ...
    hideOnZoom: false,
    hideInPanel: true, // the properties panel lists what can be edited
    margin: MARGIN,
    getMinHeight: height,
    getMaxHeight: height,
  });
  widget.serialize = false; // ... nor of the saved workflow
}

function removeStrip(node) {
  strips.delete(node);
  const height = node.size[1] - STRIP_HEIGHT - 2 * MARGIN;
  node.removeWidget(node.widgets.find((widget) => widget.name === WIDGET));
  node.setSize([node.size[0], Math.max(height, node.computeSize()[1])]);
}

/** Give every node a strip, or take them all away. */
function showStrips(shown) {
  for (const node of allNodes().filter((node) => node.comfyClass === NODE && strips.has(node) !== shown)) {
    if (shown) addStrip(node);
    else removeStrip(node);
  }
  showLatest();
}

function showLatest() {
  for (const [key, event] of latest) if (key.startsWith(`${rootGraph().id}/`)) show(event);
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
    if (node.comfyClass === NODE && setting(SHOWN)) addStrip(node);
  },
  afterConfigureGraph: showLatest,
});
