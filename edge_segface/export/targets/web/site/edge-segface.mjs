// Face parsing in the browser: nothing leaves the device. Types: edge-segface.d.ts.

const HERE = new URL("./", import.meta.url);
const LONGEST = 4096; // pixels of an image's longer side; larger ones are scaled down

export class FaceParser {
  static async load({ base = HERE, runtime = "auto", threads = 0 } = {}) {
    if (!hasSimd()) throw new Error("this browser has no WebAssembly SIMD; a current one has");
    const parser = new FaceParser(new Worker(new URL("worker.mjs", base), { type: "module" }));
    Object.assign(parser, await parser.ask("load", { base: String(new URL(base, HERE)), runtime, threads }));
    return parser;
  }

  constructor(worker) {
    this.worker = worker;
    this.waiting = new Map();
    this.count = 0;
    worker.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    };
    worker.onerror = (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message || "the worker failed"));
      this.waiting.clear();
    };
  }

  // Finds and parses all faces of an image: an address, a Blob, or anything that createImageBitmap takes. With `whole`,
  // the whole image is parsed as one face.
  async parse(source, { whole = false } = {}) {
    const bitmap = await bitmapOf(source);
    return this.ask("parse", { bitmap, whole }, [bitmap]);
  }

  // Parses a frame of a video, with the faces where the frame before had them: pass its `squares`, at first [].
  async follow(source, squares) {
    const bitmap = await bitmapOf(source);
    return this.ask("follow", { bitmap, squares }, [bitmap]);
  }

  // Milliseconds of each of some runs of the network alone.
  async time(runs = 10) {
    return this.ask("time", { runs });
  }

  close() {
    this.worker.terminate();
  }

  ask(task, given, transfer = []) {
    const id = this.count++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, task, ...given }, transfer);
    });
  }
}

async function bitmapOf(source) {
  const options = { colorSpaceConversion: "none" };
  if (typeof source === "string" || source instanceof URL) {
    const response = await fetch(source);
    if (!response.ok) throw new Error(`${source} cannot be loaded: ${response.status}`);
    source = await response.blob();
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(source, options);
  } catch {
    throw new Error("this is not an image that the browser can read");
  }
  const shrink = LONGEST / Math.max(bitmap.width, bitmap.height);
  if (shrink >= 1) return bitmap;
  const size = { resizeWidth: Math.round(shrink * bitmap.width), resizeHeight: Math.round(shrink * bitmap.height) };
  const smaller = await createImageBitmap(bitmap, { ...options, ...size, resizeQuality: "high" });
  bitmap.close();
  return smaller;
}

// A module with one SIMD instruction, which only engines with SIMD accept.
function hasSimd() {
  const bytes = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
  return typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array(bytes));
}
