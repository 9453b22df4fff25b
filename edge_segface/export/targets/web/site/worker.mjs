// The network and everything around it, off the page's thread. Messages: {id, task, ...} -> {id, result} or {id, error}.

import { followFaces, parseImage } from "./faces.mjs";
import { cropOf, merged, wholeOf } from "./squares.mjs";

const FEWEST_EQUAL = 0.99; // share of pixels in which WebGPU must agree with WebAssembly to be used
const TIMED_RUNS = 4;

let model;
let run; // (crop of bytes) -> promise of class ids
let canvas;

const tasks = {
  async load({ base, runtime, threads }) {
    model = await (await fetch(new URL("model.json", base))).json();
    const wasm = await open(base, "wasm", threads);
    let chosen = wasm;
    let note = "";
    if (runtime !== "wasm") {
      try {
        const gpu = await open(base, "webgpu", threads);
        note = await whyNot(gpu, wasm, runtime);
        if (!note) chosen = gpu;
      } catch (error) {
        note = `WebGPU is not used: ${firstLine(error)}`;
      }
    }
    run = chosen.run;
    return { model, runtime: chosen.name, threads: chosen.threads, note };
  },

  async parse({ bitmap, whole }) {
    const image = pixelsOf(bitmap);
    const started = performance.now();
    const { labels, faces } = whole ? await parseWhole(image) : await parseImage(image, model, look);
    return sent({ labels, faces, ms: performance.now() - started });
  },

  async follow({ bitmap, squares }) {
    const image = pixelsOf(bitmap);
    const started = performance.now();
    const followed = await followFaces(image, squares, model, look);
    return sent({ ...followed, ms: performance.now() - started });
  },

  // The time of the network alone, for benchmarks.
  async time({ runs }) {
    const crop = new Uint8Array(3 * model.size ** 2).fill(128);
    const times = [];
    for (let index = 0; index < runs; index++) {
      const started = performance.now();
      await run(crop);
      times.push(performance.now() - started);
    }
    return { result: times };
  },
};

async function look(image, squares) {
  const looks = [];
  for (const square of squares) {
    const data = await run(cropOf(image, square, model.size));
    looks.push({ square, labels: { width: model.size, height: model.size, data } });
  }
  return looks;
}

async function parseWhole(image) {
  return { labels: merged(await look(image, [wholeOf(image)]), image), faces: [] };
}

async function open(base, name, threads) {
  if (name === "webgpu" && !(await navigator.gpu?.requestAdapter())) throw new Error("this browser offers no GPU");
  const file = name === "webgpu" ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs";
  const ort = await import(new URL(`ort/${file}`, base));
  const used = self.crossOriginIsolated ? threads || usualThreads() : 1;
  ort.env.wasm.wasmPaths = new URL("ort/", base).href;
  ort.env.wasm.numThreads = used;
  const session = await ort.InferenceSession.create(new URL("model.onnx", base).href, { executionProviders: [name] });
  const shape = [1, model.size, model.size, 3];
  return {
    name,
    threads: used,
    run: async (crop) => (await session.run({ image: new ort.Tensor("uint8", crop, shape) })).labels.data,
  };
}

// One core stays free for the page: on two cores, two threads take longer than one.
const usualThreads = () => Math.max(1, Math.min(4, (navigator.hardwareConcurrency || 1) - 1));

// Why WebGPU is not used although it works: other classes, or, where the choice is ours, more time.
async function whyNot(gpu, wasm, runtime) {
  const crop = Uint8Array.from({ length: 3 * model.size ** 2 }, (_, at) => 128 + 100 * Math.sin(at / 700));
  const [found, expected] = [await gpu.run(crop), await wasm.run(crop)];
  const equal = found.reduce((count, id, at) => count + (id === expected[at]), 0) / found.length;
  if (equal < FEWEST_EQUAL) return `WebGPU is not used: ${(100 * equal).toFixed(1)} % of its classes are right`;
  if (runtime === "webgpu") return "";
  const [gpuMs, wasmMs] = [await fastest(gpu, crop), await fastest(wasm, crop)];
  return gpuMs < wasmMs ? "" : `WebGPU is not used: ${gpuMs.toFixed(0)} ms instead of ${wasmMs.toFixed(0)}`;
}

async function fastest(session, crop) {
  let best = Infinity;
  for (let index = 0; index < TIMED_RUNS; index++) {
    const started = performance.now();
    await session.run(crop);
    best = Math.min(best, performance.now() - started);
  }
  return best;
}

function pixelsOf(bitmap) {
  canvas ??= new OffscreenCanvas(1, 1);
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

function sent({ labels, ...rest }) {
  const { width, height, data } = labels;
  return { result: { width, height, labels: data, ...rest }, transfer: [data.buffer] };
}

const firstLine = (error) => String(error?.message ?? error).split("\n")[0];

self.onmessage = async ({ data: { id, task, ...given } }) => {
  try {
    const done = await tasks[task](given);
    self.postMessage({ id, result: done.result ?? done }, done.transfer ?? []);
  } catch (error) {
    self.postMessage({ id, error: firstLine(error) });
  }
};
