// Faces in a class map: regions of skin and the parts on it, with the probability that each is a face.
//
// The counterpart of regions.py and face_score.py of the Python package.

import { even } from "./squares.mjs";

const MIN_FILLED = 0.35;
const NOSES_APART = 0.35;
const MIN_NOSE = 0.25;
const CLEAR = 0.01;
const SURROUNDINGS = 0.35;
const LARGE = 64;
const [LEFT, RIGHT, GLASSES, HAIR, FACE] = [3, 4, 5, 6, 7]; // of the groups counted, after the three kinds

// `model.groups` lists the ids of: eyes with brows and glasses, nose, mouth; left eye, right eye, glasses, hair, face.
export function findFaces(labels, model, minSide, minKinds) {
  const faces = [];
  for (const region of regionsOf(labels, model, minSide)) {
    const counts = countGroups(labels, region, model, region.pixels);
    if (sum(kindsShown(counts)) >= minKinds) {
      const { left, top, width, height } = region;
      faces.push({ box: [left, top, left + width, top + height], score: scoreOf(labels, region, counts, model) });
    }
  }
  return faces.sort((one, other) => heightOf(other) - heightOf(one));
}

export const heightOf = (face) => face.box[3] - face.box[1];

const sum = (values) => values.reduce((total, value) => total + value, 0);
const kindsShown = (counts) => counts.slice(0, 3).map((count) => Math.min(count / counts[FACE] / CLEAR, 1));

// How many pixels of a box belong to each group; with `pixels`, only where that is set.
function countGroups(labels, { left, top, width, height }, model, pixels = null) {
  const byId = new Float64Array(256);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!pixels || pixels[y * width + x]) byId[labels.data[(top + y) * labels.width + left + x]]++;
    }
  }
  return model.groups.map((ids) => sum(ids.map((id) => byId[id])));
}

function scoreOf(labels, region, counts, model) {
  const { width, height } = region;
  const area = counts[FACE];
  const clear = (index) => counts[index] / area / CLEAR;
  const margin = even(SURROUNDINGS * Math.max(width, height));
  const left = Math.max(0, region.left - margin);
  const top = Math.max(0, region.top - margin);
  const around = countGroups(
    labels,
    {
      left,
      top,
      width: Math.min(labels.width, region.left + width + margin) - left,
      height: Math.min(labels.height, region.top + height + margin) - top,
    },
    model,
  );
  const features = [
    ...kindsShown(counts),
    Math.min(1, Math.max(3 * Math.min(clear(LEFT), clear(RIGHT)), clear(GLASSES))),
    inLine(labels, region, model),
    area / (height * width),
    Math.abs(Math.log(height / (1.3 * width))),
    Math.min(1, around[HAIR] / area),
    area / Math.max(around[FACE], area),
    Math.min(1, Math.log2(1 + Math.min(height, width)) / Math.log2(LARGE)),
  ];
  const { coefficients, bias } = model.score;
  return 1 / (1 + Math.exp(-sum(features.map((value, index) => value * coefficients[index])) - bias));
}

// The cosine between the way from eyes to nose and from nose to mouth.
function inLine(labels, { left, top, width, height, pixels }, model) {
  const centres = model.groups.slice(0, 3).map((ids) => {
    const of = new Set(ids);
    let [count, x0, y0] = [0, 0, 0];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (pixels[y * width + x] && of.has(labels.data[(top + y) * labels.width + left + x])) {
          count++;
          x0 += x;
          y0 += y;
        }
      }
    }
    return count ? [x0 / count, y0 / count] : null;
  });
  if (centres.includes(null)) return 0;
  const [eyes, nose, mouth] = centres;
  const [ux, uy, lx, ly] = [nose[0] - eyes[0], nose[1] - eyes[1], mouth[0] - nose[0], mouth[1] - nose[1]];
  const length = Math.hypot(ux, uy) * Math.hypot(lx, ly);
  return length > 0 ? (ux * lx + uy * ly) / length : 0;
}

// The components of skin and the parts on it that have the size and the shape of a face.
function regionsOf(labels, model, minSide) {
  const isFace = tableOf(model.groups[FACE]);
  const { width, height } = labels;
  const face = Uint8Array.from(labels.data, (id) => isFace[id]);
  const opened = spread(spread(face, width, height, 1), width, height, 0); // cuts thin bridges between two faces
  const found = [];
  for (const component of components(opened, width, height, false)) {
    const [x0, y0, x1, y1] = component.box;
    const [w, h] = [x1 - x0, y1 - y0];
    if (Math.min(w, h) < minSide || component.pixels.length < MIN_FILLED * w * h) continue;
    const region = new Uint8Array(w * h);
    for (const at of component.pixels) region[(Math.floor(at / width) - y0) * w + (at % width) - x0] = 1;
    for (const part of splitByNoses(labels, region, x0, y0, w, h, model)) {
      const [left, top, right, bottom] = boxOf(part, w, h);
      if (Math.min(right - left, bottom - top) < minSide) continue;
      const pixels = new Uint8Array((right - left) * (bottom - top));
      for (let y = top; y < bottom; y++) {
        for (let x = left; x < right; x++) pixels[(y - top) * (right - left) + x - left] = part[y * w + x];
      }
      found.push({ left: x0 + left, top: y0 + top, width: right - left, height: bottom - top, pixels });
    }
  }
  return found;
}

// Splits the region of faces that touch, so that each has one nose.
function splitByNoses(labels, region, x0, y0, width, height, model) {
  const isNose = tableOf(model.groups[1]);
  const nose = region.map((inside, at) =>
    inside ? isNose[labels.data[(y0 + Math.floor(at / width)) * labels.width + x0 + (at % width)]] : 0,
  );
  const noses = components(nose, width, height, true).sort((one, other) => other.pixels.length - one.pixels.length);
  const apart = NOSES_APART * Math.max(width, height);
  const kept = [];
  for (const one of noses) {
    const x = sum(one.pixels.map((at) => at % width)) / one.pixels.length;
    const y = sum(one.pixels.map((at) => Math.floor(at / width))) / one.pixels.length;
    const large = one.pixels.length >= MIN_NOSE * noses[0].pixels.length;
    if (large && kept.every((other) => Math.hypot(x - other[0], y - other[1]) >= apart)) kept.push([x, y]);
  }
  if (kept.length < 2) return [region];
  const parts = kept.map(() => new Uint8Array(region.length));
  region.forEach((inside, at) => {
    if (!inside) return;
    const away = kept.map(([x, y]) => Math.hypot((at % width) - x, Math.floor(at / width) - y));
    parts[away.indexOf(Math.min(...away))][at] = 1;
  });
  return parts;
}

export function tableOf(ids) {
  const table = new Uint8Array(256);
  for (const id of ids) table[id] = 1;
  return table;
}

export function boxOf(mask, width, height) {
  let box = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (mask[y * width + x]) box = [Math.min(box[0], x), Math.min(box[1], y), Math.max(box[2], x + 1), y + 1];
    }
  }
  return box[2] ? box : [0, 0, 0, 0];
}

// Erosion (to = 1) or dilation (to = 0) by 3x3: a pixel with a neighbour of the other value takes that value. What lies
// outside changes nothing.
export function spread(mask, width, height, to) {
  const rows = new Uint8Array(mask.length);
  const result = new Uint8Array(mask.length);
  const pick = to ? Math.min : Math.max;
  for (let at = 0; at < mask.length; at++) {
    const x = at % width;
    rows[at] = pick(mask[at], x ? mask[at - 1] : mask[at], x < width - 1 ? mask[at + 1] : mask[at]);
  }
  for (let at = 0; at < mask.length; at++) {
    const above = at >= width ? rows[at - width] : rows[at];
    const below = at + width < rows.length ? rows[at + width] : rows[at];
    result[at] = pick(rows[at], above, below);
  }
  return result;
}

// The connected components of a mask, in the order of their first pixels, with their pixels and box.
export function components(mask, width, height, diagonal) {
  const seen = new Uint8Array(mask.length);
  const found = [];
  const steps = diagonal
    ? [[-1, -1], [0, -1], [1, -1], [-1, 0], [1, 0], [-1, 1], [0, 1], [1, 1]]
    : [[0, -1], [-1, 0], [1, 0], [0, 1]];
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || seen[start]) continue;
    const pixels = [start];
    const box = [width, height, 0, 0];
    seen[start] = 1;
    for (let next = 0; next < pixels.length; next++) {
      const at = pixels[next];
      const [x, y] = [at % width, Math.floor(at / width)];
      box[0] = Math.min(box[0], x);
      box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x + 1);
      box[3] = Math.max(box[3], y + 1);
      for (const [dx, dy] of steps) {
        const [px, py] = [x + dx, y + dy];
        const place = py * width + px;
        if (px >= 0 && py >= 0 && px < width && py < height && mask[place] && !seen[place]) {
          seen[place] = 1;
          pixels.push(place);
        }
      }
    }
    found.push({ pixels, box });
  }
  return found;
}
