// Builds an example workflow in the page of a running front end, so that the file holds what the front end itself
// writes. `spec`: {id, columns: [[{type, title?, widgets?, inputs?: {name: [key, output]}, size?, key, ...}]]}.
(spec) => {
  const graph = app.graph;
  graph.clear();
  const TITLE = 30, GAP = 50;
  const made = {};
  let x = 40;
  for (const column of spec.columns) {
    let y = 80, width = 0;
    for (const item of column) {
      const node = LiteGraph.createNode(item.type);
      if (!node) throw new Error(`The host has no node ${item.type}`);
      graph.add(node);
      if (item.title) node.title = item.title;
      for (const [name, value] of Object.entries(item.widgets ?? {})) {
        const widget = node.widgets.find((w) => w.name === name);
        if (!widget) throw new Error(`${item.type} has no widget ${name}: ${node.widgets.map((w) => w.name)}`);
        widget.value = value;
      }
      if (item.models) node.properties.models = item.models;
      node.setSize([item.size?.[0] ?? 270, Math.max(item.size?.[1] ?? 0, node.computeSize()[1])]);
      node.pos = [x, y];
      y += node.size[1] + TITLE + GAP;
      width = Math.max(width, node.size[0]);
      made[item.key] = node;
    }
    x += width + 60;
  }
  for (const item of spec.columns.flat())
    for (const [name, [source, output]] of Object.entries(item.inputs ?? {})) {
      const slot = made[item.key].findInputSlot(name);
      if (slot < 0 || !made[source].connect(output, made[item.key], slot))
        throw new Error(`cannot connect ${source}.${output} to ${item.key}.${name}`);
    }
  graph.setDirtyCanvas(true, true);
};
