// The page: camera, photos, and what is drawn over them.

import { FaceParser } from "./edge-segface.mjs";

const RECENT = 30; // frames over which the rate is measured
const BLUR_PX = 14; // of the background, in an image of 640 pixels
const FEATHER_PX = 1.5; // of edges, likewise
const TIMEOUT_MS = 10000;

const $ = (id) => document.getElementById(id);
const view = $("view");
const context = view.getContext("2d");
const frame = document.createElement("canvas");
const layer = document.createElement("canvas");
const soft = document.createElement("canvas");
const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });

let parser;
let shown = null; // what the canvas shows: {width, height, labels}
let stream = null;
const hidden = new Set(); // class ids

const loaded = start();
window.edgeSegface = {
  ready: loaded,
  parse: async (source, options) => (await loaded).parse(source, options),
  time: async (runs) => (await loaded).time(runs),
};

async function start() {
  try {
    if (await becomesIsolated()) return new Promise(() => {}); // the page loads again
    const given = new URLSearchParams(location.search);
    parser = await FaceParser.load({ runtime: given.get("runtime") ?? "auto", threads: Number(given.get("threads")) });
  } catch (error) {
    say(error.message, true);
    throw error;
  }
  listClasses();
  $("camera").disabled = !navigator.mediaDevices;
  sayReady();
  return parser;
}

// Threads need a page that is isolated from other origins. The service worker adds the headers, from the second load on.
async function becomesIsolated() {
  if (!navigator.serviceWorker || !window.isSecureContext) return false;
  try {
    await navigator.serviceWorker.register("sw.js");
    await Promise.race([navigator.serviceWorker.ready, new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS))]);
  } catch (error) {
    console.warn(`the page will not work without a network: ${error.message}`);
    return false;
  }
  if (window.crossOriginIsolated || sessionStorage.getItem("loaded-again")) return false;
  sessionStorage.setItem("loaded-again", "1");
  location.reload();
  return true;
}

function sayReady() {
  const where = parser.runtime === "webgpu" ? "WebGPU" : `WebAssembly, ${parser.threads} thread${parser.threads > 1 ? "s" : ""}`;
  say(`${parser.model.name}, ${where}${parser.note ? ` (${parser.note})` : ""}`);
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

function listClasses() {
  const { titles, palette } = parser.model;
  titles.forEach((title, id) => {
    if (!id) return;
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.setProperty("background", `rgb(${palette[id]})`);
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(id);
      else hidden.add(id);
      draw();
    });
    const label = document.createElement("label");
    label.append(box, swatch, title);
    $("classes").append(label);
  });
}

for (const [id, checked] of [["all", true], ["no", false]]) {
  $(id).addEventListener("click", () => {
    for (const box of $("classes").querySelectorAll("input")) {
      if (box.checked !== checked) box.click();
    }
  });
}

for (const input of document.querySelectorAll("fieldset input")) input.addEventListener("input", () => draw());

$("file").addEventListener("change", () => openPhoto($("file").files[0]));
$("stage").addEventListener("dragover", (event) => {
  event.preventDefault();
  $("stage").classList.add("over");
});
$("stage").addEventListener("dragleave", () => $("stage").classList.remove("over"));
$("stage").addEventListener("drop", (event) => {
  event.preventDefault();
  $("stage").classList.remove("over");
  openPhoto(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => openPhoto(event.clipboardData.files[0]));

async function openPhoto(file) {
  if (!file || !parser) return;
  stopCamera();
  say("parsing …");
  try {
    const parsed = await parser.parse(file);
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
    keepFrame(bitmap, parsed);
    const faces = parsed.faces.length;
    say(`${faces} face${faces === 1 ? "" : "s"} in ${parsed.ms.toFixed(0)} ms, ${parsed.width} × ${parsed.height}`);
  } catch (error) {
    say(error.message, true);
  }
}

$("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));

async function startCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, facingMode: "user" } });
  } catch (error) {
    say(error.name === "NotAllowedError" ? "The camera was not allowed; photos work without it." : `No camera: ${error.message}`, true);
    return;
  }
  video.srcObject = stream;
  await video.play();
  $("camera").textContent = "Stop camera";
  const ends = [];
  let squares = [];
  while (stream) {
    const bitmap = await createImageBitmap(video);
    const copy = await createImageBitmap(bitmap);
    const followed = await parser.follow(bitmap, squares);
    if (!stream) break;
    squares = followed.squares;
    keepFrame(copy, followed);
    ends.push(performance.now());
    if (ends.length > RECENT) ends.shift();
    const fps = (1000 * (ends.length - 1)) / (ends.at(-1) - ends[0] || 1);
    say(`${fps.toFixed(1)} frames a second, ${followed.ms.toFixed(0)} ms a frame, ${squares.length} face${squares.length === 1 ? "" : "s"}`);
  }
}

function stopCamera() {
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  $("camera").textContent = "Start camera";
  sayReady();
}

function keepFrame(bitmap, parsed) {
  [frame.width, frame.height] = [parsed.width, parsed.height];
  frame.getContext("2d").drawImage(bitmap, 0, 0, parsed.width, parsed.height);
  bitmap.close();
  shown = parsed;
  $("hint").hidden = true;
  $("save").disabled = false;
  draw();
}

function draw() {
  if (!shown) return;
  const { width, height } = shown;
  if (view.width !== width || view.height !== height) [view.width, view.height] = [width, height];
  const strength = $("strength").value / 100;
  const scale = Math.max(width, height) / 640;
  const effect = document.querySelector("input[name=effect]:checked").value;
  context.drawImage(frame, 0, 0);
  if (effect === "overlay") {
    paint((id) => (hidden.has(id) ? null : parser.model.palette[id]), strength);
    context.drawImage(layer, 0, 0);
  } else if (effect === "hair") {
    const [red, green, blue] = $("colour").value.match(/\w\w/g).map((pair) => parseInt(pair, 16));
    const hair = parser.model.parts.indexOf("hair");
    paint((id) => (id === hair ? [red, green, blue] : null), strength);
    context.globalCompositeOperation = "color";
    context.drawImage(softened(scale), 0, 0);
    context.globalCompositeOperation = "source-over";
  } else if (effect === "blur") {
    paint(() => [0, 0, 0], 1);
    const person = softened(scale);
    const cut = person.getContext("2d");
    cut.globalCompositeOperation = "source-in";
    cut.drawImage(frame, 0, 0);
    context.filter = `blur(${strength * BLUR_PX * scale}px)`;
    context.drawImage(frame, 0, 0);
    context.filter = "none";
    context.drawImage(person, 0, 0);
  }
}

// What was painted in the layer, with soft edges.
function softened(scale) {
  [soft.width, soft.height] = [layer.width, layer.height];
  const context = soft.getContext("2d");
  context.filter = `blur(${FEATHER_PX * scale}px)`;
  context.drawImage(layer, 0, 0);
  context.filter = "none";
  return soft;
}

// Paints the classes in the layer; `colourOf` returns red, green and blue, or null for none. Background is never painted.
function paint(colourOf, opacity) {
  const { width, height, labels } = shown;
  [layer.width, layer.height] = [width, height];
  const colours = parser.model.parts.map((_, id) => (id ? colourOf(id) : null));
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const words = colours.map((rgb) => (rgb ? ((255 * opacity) << 24) | (rgb[2] << 16) | (rgb[1] << 8) | rgb[0] : 0));
  for (let at = 0; at < labels.length; at++) pixels[at] = words[labels[at]];
  layer.getContext("2d").putImageData(image, 0, 0);
}

$("save").addEventListener("click", () => {
  view.toBlob((blob) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: "parsed.png" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), TIMEOUT_MS);
  });
});
