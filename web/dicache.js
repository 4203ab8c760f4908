// The live view: a strip on every DiCache Apply node, fed by the server's "dicache.step" events, and what DiCache Report
// and the nodes that sample by themselves show. It only shows; a graph runs the same without it.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { promptInFile, runsInHistory, runsOf } from "./recall.js";
import { Report, REPORT_HEIGHT } from "./report.js";
import { Said, SAID_HEIGHT, SAID_MOST } from "./said.js";
import { Strip, STRIP_HEIGHT } from "./strip.js";

const WIDGET = "dicache_strip";
const SHOWN = "DiCache.ShowStrip"; // the setting
const SAYING = new Set(["DiCacheTuning", "DiCacheCompare", "DiCacheCalibrate"]); // nodes that say what they found
const MARGIN = 6; // the classic renderer keeps this free around a DOM widget; Nodes 2.0 has its own gaps

/** node object -> its strip; a node that goes away takes its strip along. */
const strips = new WeakMap();
/** node object -> what shows on it what its run gave: a report, or what Tune, Compare and Calibrate say. */
const outputs = new WeakMap();
/** "workflow id/node id" -> last event, so that a strip comes back when the user returns to a workflow tab. */
const latest = new Map();

let graphIsThere = false; // to ask for it earlier is an error in the console
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
  if (event.text !== undefined) return outputs.get(findNode(event.node))?.show({ text: [event.text] });
  const strip = strips.get(findNode(event.node));
  if (event.overridden_by === undefined) strip?.show(event);
  else strip?.overridden(event.overridden_by && nameOf(event.overridden_by));
}

/** "DiCache Apply #12", as the node's title and badge say; the id alone of a node that is not shown. */
function nameOf(executionId) {
  const title = findNode(executionId)?.title;
  return title ? `${title} #${executionId}` : `#${executionId}`;
}

function remember(event) {
  const workflow = event.workflow ?? rootGraph().id;
  if (event.text === undefined) latest.set(`${workflow}/${event.node}`, event); // a line on the way is soon an old one
  if (workflow === rootGraph().id) show(event);
}

/** After a reload the page has heard of no run: the server's history has. */
async function recall() {
  const workflow = rootGraph().id;
  if (!allNodes().some((node) => strips.has(node))) return;
  if ([...latest.keys()].some((key) => key.startsWith(`${workflow}/`))) return;
  for (const event of await runsInHistory(api, workflow)) {
    if (!latest.has(`${workflow}/${event.node}`)) remember(event); // a run may have begun meanwhile
  }
}

/** A saved image that is dropped in or opened brings its runs along with its workflow. */
function readRunsOfFiles() {
  const { handleFile } = app;
  app.handleFile = async function (file, ...more) {
    const reading = promptInFile(file).catch(() => null); // not ours to complain of: the front end reads it, too
    await handleFile.call(this, file, ...more);
    for (const event of runsOf(await reading, rootGraph().id)) remember(event);
  };
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
    hideInPanel: true, // the properties panel lists what can be edited ...
    disabled: true, // ... and so does the app builder: neither shows what is no input
    margin: MARGIN,
    getMinHeight: () => least + 2 * MARGIN,
    ...(most && { getMaxHeight: () => most + 2 * MARGIN }),
  });
  widget.serialize = false; // ... nor of the saved workflow
  widget.label = "DiCache"; // where a front end lists a node's widgets by name, as its editor of subgraphs does
}

function addStrip(node) {
  const strip = new Strip(setting("Comfy.Locale"));
  strips.set(node, strip);
  addElement(node, WIDGET, strip.element, STRIP_HEIGHT, STRIP_HEIGHT);
}

/** "workflow id/graph id/node id" -> what a node's run gave, so that it comes back with its workflow's tab. */
const given = new Map();
const outputKey = (node) => `${rootGraph().id}/${node.graph?.id}/${node.id}`;

/** Show what a node's run gives; `shown` is an element with a method for that. */
function addOutput(node, name, shown, least, most) {
  outputs.set(node, shown);
  addElement(node, name, shown.element, least, most);
  const onExecuted = node.onExecuted;
  node.onExecuted = function (output) {
    onExecuted?.apply(this, arguments);
    given.set(outputKey(this), output);
    shown.show(output);
  };
}

/** A new seed after every run would repeat several full runs. Not by the schema: front ends make a widget's name of that. */
function keepSeed(node) {
  const control = node.widgets.find((widget) => widget.name === "control_after_generate");
  if (control) control.value = "fixed";
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
    node.setDirtyCanvas(true, true); // the newest front end lays out an element when it draws, and draws nothing by itself
  }
  showLatest();
}

function showLatest() {
  for (const node of allNodes()) {
    const output = given.get(outputKey(node));
    if (output) outputs.get(node)?.show(output);
  }
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
      onChange: (shown) => graphIsThere && showStrips(shown),
    },
  ],
  setup() {
    graphIsThere = true;
    for (const kind of ["dicache.step", "dicache.text"]) api.addEventListener(kind, ({ detail }) => remember(detail));
    readRunsOfFiles();
  },
  nodeCreated(node) {
    if (node.comfyClass === "DiCacheApply" && setting(SHOWN)) addStrip(node);
    const locale = setting("Comfy.Locale");
    if (node.comfyClass === "DiCacheReport") addOutput(node, "dicache_report", new Report(locale), REPORT_HEIGHT);
    if (SAYING.has(node.comfyClass)) {
      keepSeed(node);
      addOutput(node, "dicache_said", new Said(locale), SAID_HEIGHT, SAID_MOST);
    }
  },
  async afterConfigureGraph() {
    showLatest();
    await recall();
  },
});
