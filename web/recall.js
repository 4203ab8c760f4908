// What is known of runs that this page has not seen: the server's history after a reload, and the metadata of an image
// that is dropped in. The server notes both at the node, in the prompt.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47];
const LARGEST = 64 * 2 ** 20; // bytes of a file that is looked into

/** Of each node of a prompt that has runs noted, the last one, as a "dicache.step" event brings it. */
export function runsOf(prompt, workflow) {
  const noted = Object.entries(prompt ?? {}).filter(([, node]) => node?._meta?.dicache?.length);
  return noted.map(([node, { _meta }]) => ({ ..._meta.dicache.at(-1), node, workflow }));
}

/** The last runs of a workflow that the server's history knows; the latest prompt that has one for a node counts. */
export async function runsInHistory(api, workflow) {
  const history = await (await api.fetchApi("/history?max_items=16")).json();
  const prompts = Object.values(history).map((entry) => entry.prompt);
  const ours = prompts.filter(([, , , extra]) => extra?.extra_pnginfo?.workflow?.id === workflow);
  return [...new Map(ours.flatMap(([, , prompt]) => runsOf(prompt, workflow)).map((event) => [event.node, event])).values()];
}

/** The prompt in a PNG file's metadata; null where there is none. */
export async function promptInFile(file) {
  if (file.size > LARGEST) return null;
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (SIGNATURE.some((byte, at) => bytes[at] !== byte)) return null;
  const view = new DataView(bytes.buffer);
  const text = (from, to) => new TextDecoder().decode(bytes.subarray(from, to));
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    if (text(at + 4, at + 15) === "tEXtprompt\0") return JSON.parse(text(at + 15, at + 8 + view.getUint32(at)));
  }
  return null;
}
