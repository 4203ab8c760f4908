// Builds an example workflow in the page of a running front end, so that the file holds what the front end itself
// writes. `spec`: {columns, without}, both [[{type, title?, widgets?, inputs?: {name: [key, output]}, size?,
// mode?, key}]].
// What a node's widgets are not told to be they keep from the node's schema.
(spec) => {
  const graph = app.graph;
  graph.clear();
  graph.id = crypto.randomUUID(); // the front end keeps widgets' values by graph, node and name, and hands them on
  const TITLE = 30, GAP = 50, BAND = 80, GROUP = "The same without DiCache: select, then Ctrl+M";
  const made = {};

  function make(item) {
    const node = LiteGraph.createNode(item.type);
    if (!node) throw new Error(`The host has no node ${item.type}`);
    graph.add(node);
    if (item.title) node.title = item.title;
    for (const [name, value] of Object.entries(item.widgets ?? {})) {
      const widget = node.widgets.find((w) => w.name === name);
      if (!widget) throw new Error(`${item.type} has no widget ${name}: ${node.widgets.map((w) => w.name)}`);
      widget.value = value;
    }
    if (item.models?.length) node.properties.models = item.models;
    node.mode = item.mode ?? 0;
    node.setSize([item.size?.[0] ?? 270, Math.max(item.size?.[1] ?? 0, node.computeSize()[1])]);
    made[item.key] = node;
    return node;
  }

  /** Columns from left to right with their upper left corner at [left, top]; returns the lowest edge. */
  function place(columns, left, top) {
    let bottom = top;
    for (const column of columns) {
      let y = top, width = 0;
      for (const item of column) {
        const node = make(item);
        node.pos = [left, y];
        y += node.size[1] + TITLE + GAP;
        width = Math.max(width, node.size[0]);
      }
      bottom = Math.max(bottom, y);
      left += width + 60;
    }
    return bottom;
  }

  /** A group around what columns made. */
  function frame(title, columns) {
    const group = new LiteGraph.LGraphGroup(title);
    graph.add(group);
    const boxes = columns.flat().map((item) => made[item.key]);
    const left = Math.min(...boxes.map((n) => n.pos[0])), top = Math.min(...boxes.map((n) => n.pos[1]));
    const above = TITLE + 60;
    group.pos = [left - 20, top - above];
    group.size = [
      Math.max(...boxes.map((n) => n.pos[0] + n.size[0])) - left + 40,
      Math.max(...boxes.map((n) => n.pos[1] + n.size[1])) - top + above + 20,
    ];
  }

  const bottom = place(spec.columns, 40, 80);
  if (spec.without.length) {
    const original = made[spec.without[0][0].key.replace("_plain", "")];
    place(spec.without, original.pos[0], bottom + BAND);
    frame(GROUP, spec.without);
  }
  for (const item of [...spec.columns, ...spec.without].flat())
    for (const [name, [source, output]] of Object.entries(item.inputs ?? {})) {
      const slot = made[item.key].findInputSlot(name);
      if (slot < 0 || !made[source].connect(output, made[item.key], slot))
        throw new Error(`cannot connect ${source}.${output} to ${item.key}.${name}`);
    }
  graph.setDirtyCanvas(true, true);
};
