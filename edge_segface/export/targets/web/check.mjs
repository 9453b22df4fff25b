// Parses one image in Node with the modules of the page: `node check.mjs SITE WIDTH HEIGHT [whole]`, bytes of red,
// green, blue and alpha in, class ids out.

import { readFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [site, width, height, whole] = process.argv.slice(2);
const base = pathToFileURL(`${site}/`);
const { parseImage } = await import(new URL("faces.mjs", base));
const { cropOf, merged, wholeOf } = await import(new URL("squares.mjs", base));
const ort = await import(new URL("ort/ort.wasm.min.mjs", base));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("ort/", base).href;

const model = JSON.parse(readFileSync(new URL("model.json", base)));
const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(new URL("model.onnx", base))), {
  executionProviders: ["wasm"],
});
const image = { width: Number(width), height: Number(height), data: new Uint8Array(readFileSync(0)) };

async function look(of, squares) {
  const looks = [];
  for (const square of squares) {
    const pixels = new ort.Tensor("uint8", cropOf(of, square, model.size), [1, model.size, model.size, 3]);
    const data = (await session.run({ image: pixels })).labels.data;
    looks.push({ square, labels: { width: model.size, height: model.size, data } });
  }
  return looks;
}

const labels = whole
  ? merged(await look(image, [wholeOf(image)]), image)
  : (await parseImage(image, model, look)).labels;
for (let at = 0; at < labels.data.length; ) at += writeSync(1, labels.data, at);
process.exit(0);
