// All faces of an image: found, each parsed in a square of its own, and merged into one class map.
//
// The counterpart of face/finder.py, face/photo.py, face/extend.py and face/track.py of the Python package. `look` is
// a function that parses squares of an image: (image, squares) -> promise of looks {square, labels}.

import { boxOf, components, findFaces, heightOf, spread, tableOf } from "./regions.mjs";
import { boundsOf, copyOver, emptyLabels, even, merged, paste, resampled, squareOf, wholeOf } from "./squares.mjs";

const WIDE_MIN_SIDE = 8;
const CLOSE_MIN_SHARE = 0.2;
const SAME_FACE = 0.3;
const SAME_CANDIDATE = 0.6;
const MIN_FACE = 60;
const MIN_FACE_SHARE = 0.025;
const WIDE_FACE = 24;
const TILE_OVERLAP = 0.25;
const FINER = 0.62;
const PORTRAIT = 0.75;
const ROI_GROWTH = 2;
const MAX_GROWTH = 2.8;
const MARGIN = 0.1;
const SAME_PLACE = 0.05;
const REACH = 2;
const COARSEST = 4.5;
const BORDER = 3;
const OUTSIDE = 255;

// -> {labels, faces}; a face has a box, a score, and the square in which it was parsed.
export async function parseImage(image, model, look) {
  const search = await findAll(image, model, look);
  let looks = search.found.map((each) => each.look);
  if (!search.portrait) looks = await bestLooks(image, search.found, model, look);
  const labels = merged(looks, image);
  if (!search.portrait) extend(labels, looks, await contextsOf(image, looks, search.looks, model, look), model);
  return { labels, faces: search.found.map(({ face }, index) => ({ ...face, square: looks[index].square })) };
}

// The faces that were seen in the last frame, followed into the next one; they are searched for where there are none.
export async function followFaces(image, squares, model, look) {
  if (!squares.length) {
    const whole = await look(image, [wholeOf(image)]);
    const found = await confirmed(image, whole, model, look);
    squares = found.map((each) => squareAround(each, model));
  }
  const looks = [];
  const next = [];
  for (const each of await look(image, squares)) {
    const faces = closeFaces(each, model);
    if (!faces.length) continue;
    looks.push(each);
    next.push(squareAround({ face: faces[0], look: each }, model));
  }
  return { labels: merged(looks, image), squares: next };
}

async function findAll(image, model, look) {
  const looks = await look(image, [wholeOf(image)]);
  const wide = candidates(looks, model);
  if (wide.length === 1 && roiOf(wide[0]).side >= PORTRAIT * looks[0].square.side) {
    const face = bestMatch(closeFaces(looks[0], model), wide[0]);
    if (face) return { found: [{ face, look: looks[0] }], looks, portrait: true };
  }
  const longest = Math.max(image.width, image.height);
  const side = (Math.max(MIN_FACE, MIN_FACE_SHARE * longest) / WIDE_FACE) * model.size;
  for (const tiles of [side < longest ? grid(image, side) : [], grid(image, FINER * Math.min(side, longest))]) {
    looks.push(...(await look(image, tiles)));
    const found = await confirmed(image, looks, model, look);
    if (found.length) return { found, looks, portrait: false };
  }
  return { found: [], looks, portrait: false };
}

function grid(image, side) {
  const [xs, ys] = [image.width, image.height].map((length) => {
    const steps = Math.max(0, Math.ceil((length - side) / (side * (1 - TILE_OVERLAP))));
    if (!steps) return [length / 2 - 0.5];
    return Array.from({ length: steps + 1 }, (_, index) => side / 2 + (index * (length - side)) / steps - 0.5);
  });
  return ys.flatMap((y) => xs.map((x) => ({ x, y, side })));
}

const roiOf = (face) => squareOf(face.box, ROI_GROWTH);
const bestMatch = (faces, other) =>
  faces.reduce((best, face) => (best && overlap(best.box, other.box) >= overlap(face.box, other.box) ? best : face), null);

function facesIn({ square, labels }, model, minSide, kinds) {
  return findFaces(labels, model, minSide, kinds).map((face) => ({ ...face, box: boxInImage(face.box, square, model) }));
}

function boxInImage(box, square, model) {
  const scale = square.side / model.size;
  const corner = [square.x - square.side / 2 + 0.5, square.y - square.side / 2 + 0.5];
  return box.map((edge, index) => corner[index % 2] + edge * scale);
}

function closeFaces(look, model) {
  const faces = facesIn(look, model, even(CLOSE_MIN_SHARE * model.size), 1);
  return faces.filter((face) => face.score >= model.minScore);
}

function candidates(looks, model) {
  const all = looks.flatMap((look) => facesIn(look, model, WIDE_MIN_SIDE, 0));
  const kept = [];
  for (const face of all.sort((one, other) => heightOf(other) - heightOf(one))) {
    if (kept.every((other) => overlap(face.box, other.box) < SAME_CANDIDATE)) kept.push(face);
  }
  return kept;
}

async function confirmed(image, looks, model, look) {
  const found = [];
  const wide = candidates(looks, model);
  const close = await look(image, wide.map(roiOf));
  for (const [index, candidate] of wide.entries()) {
    const [left, top, right, bottom] = candidate.box;
    const inside = closeFaces(close[index], model).filter(({ box }) => {
      const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
      return left <= x && x <= right && top <= y && y <= bottom;
    });
    if (inside.length === 1 && overlap(inside[0].box, candidate.box) < SAME_FACE) continue;
    for (const face of inside) {
      if (found.every((other) => overlap(face.box, other.face.box) < SAME_FACE)) found.push({ face, look: close[index] });
    }
  }
  return found.sort((one, other) => heightOf(other.face) - heightOf(one.face));
}

export function overlap(one, other) {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  if (width <= 0 || height <= 0) return 0;
  const areas = [one, other].map((box) => (box[2] - box[0]) * (box[3] - box[1]));
  return (width * height) / (areas[0] + areas[1] - width * height);
}

// A square around each face and its hair; where the search has parsed nearly the same one, that is used again.
async function bestLooks(image, found, model, look) {
  const looks = found.map((each) => each.look);
  const missing = [];
  for (const [index, each] of found.entries()) {
    const square = squareAround(each, model);
    if (!samePlace(square, each.look.square)) missing.push([index, square]);
  }
  const parsed = await look(image, missing.map(([, square]) => square));
  for (const [place, [index]] of missing.entries()) looks[index] = parsed[place];
  return looks;
}

function samePlace(one, other) {
  const shift = Math.hypot(one.x - other.x, one.y - other.y) / other.side;
  return shift < SAME_PLACE && Math.abs(Math.log(one.side / other.side)) < SAME_PLACE;
}

// As large as in training, larger where hair or a hat would be cut, up to a limit.
function squareAround({ face, look }, model) {
  const head = boxInImage(headBox(look, face, model), look.square, model);
  const { x, y, side } = roiOf(face);
  const margin = (MARGIN * side) / ROI_GROWTH;
  const left = Math.min(x - side / 2, head[0] - 0.5 - margin);
  const right = Math.max(x + side / 2, head[2] - 0.5 + margin);
  const top = Math.min(y - side / 2, head[1] - 0.5 - margin);
  const grown = Math.min(Math.max(right - left, y + side / 2 - top), (MAX_GROWTH * side) / ROI_GROWTH);
  return { x: (left + right) / 2, y: top + grown / 2, side: grown };
}

// The box of face, hair and hat in a look, within one face length so that a neighbour's hair is excluded.
function headBox({ square, labels }, face, model) {
  const scale = model.size / square.side;
  const corner = [square.x - square.side / 2 + 0.5, square.y - square.side / 2 + 0.5];
  const box = face.box.map((edge, index) => (edge - corner[index % 2]) * scale);
  const reach = Math.max(box[2] - box[0], box[3] - box[1]);
  const [left, top] = [box[0], box[1]].map((edge) => Math.min(model.size, Math.max(0, even(edge - reach))));
  const [right, bottom] = [box[2], box[3]].map((edge) => Math.max(0, Math.min(model.size, even(edge + reach))));
  const isHead = tableOf(model.head);
  const [width, height] = [Math.max(0, right - left), Math.max(0, bottom - top)];
  const mask = new Uint8Array(width * height);
  for (let at = 0; at < mask.length; at++) {
    mask[at] = isHead[labels.data[(top + Math.floor(at / width)) * labels.width + left + (at % width)]];
  }
  const [x0, y0, x1, y1] = boxOf(mask, width, height);
  return [left + x0, top + y0, left + x1, top + y1];
}

const around = (square) => ({ ...square, side: REACH * square.side });

// For each square, a look at what surrounds it, or null if no part leaves it.
async function contextsOf(image, looks, wide, model, look) {
  const found = looks.map(() => null);
  const missing = [];
  for (const [index, each] of looks.entries()) {
    if (!isLeft(each, image, model)) continue;
    const outer = around(each.square);
    const closest = wide
      .filter((other) => contains(other.square, outer, image))
      .reduce((best, other) => (best && best.square.side <= other.square.side ? best : other), null);
    if (closest && closest.square.side <= COARSEST * each.square.side) found[index] = closest;
    else missing.push([index, outer]);
  }
  const parsed = await look(image, missing.map(([, square]) => square));
  for (const [place, [index]] of missing.entries()) found[index] = parsed[place];
  return found;
}

function contains(one, other, image) {
  const [outer, inner] = [boundsOf(one, image), boundsOf(other, image)];
  return outer[0] <= inner[0] && outer[1] <= inner[1] && outer[2] >= inner[2] && outer[3] >= inner[3];
}

// Whether a part reaches the border of a square inside the image.
function isLeft({ square, labels }, image, model) {
  const [left, top, right, bottom] = boundsOf(square, image);
  const size = labels.width;
  const extending = tableOf(model.extending);
  return labels.data.some((id, at) => {
    if (!extending[id]) return false;
    const [x, y] = [at % size, Math.floor(at / size)];
    return (
      (left > 0 && x < BORDER) ||
      (top > 0 && y < BORDER) ||
      (right < image.width && x >= size - BORDER) ||
      (bottom < image.height && y >= size - BORDER)
    );
  });
}

// Continues, in place, the parts that leave a square in the background around all squares.
function extend(labels, looks, contexts, model) {
  const free = labels.data.map((id) => (id ? 0 : 1));
  for (const { square } of looks) {
    const [left, top, right, bottom] = boundsOf(square, labels);
    for (let y = top; y < bottom; y++) free.fill(0, y * labels.width + left, y * labels.width + right);
  }
  for (const [index, { square, labels: own }] of looks.entries()) {
    const context = contexts[index];
    if (!context) continue;
    const bounds = boundsOf(around(square), labels);
    const continued = continuation(square, own, context, model);
    copyOver(resampled(continued, context.square, bounds), bounds, labels, (at) => free[at]);
  }
}

function continuation(square, labels, context, model) {
  const size = context.labels.width;
  const scale = size / context.square.side;
  const inLook = {
    x: (square.x - context.square.x + context.square.side / 2) * scale - 0.5,
    y: (square.y - context.square.y + context.square.side / 2) * scale - 0.5,
    side: square.side * scale,
  };
  const own = emptyLabels(size, size, OUTSIDE);
  paste(labels, inLook, own);
  const extending = tableOf(model.extending);
  const inside = own.data.map((id) => (id === OUTSIDE ? 0 : 1));
  const core = spread(inside, size, size, 1);
  const [left, top, right, bottom] = boundsOf(around(inLook), own);
  const isSeed = (at) => inside[at] && !core[at] && extending[own.data[at]];
  const continues = (at) => {
    const [x, y] = [at % size, Math.floor(at / size)];
    const near = x >= left && x < right && y >= top && y < bottom;
    return near && !inside[at] && extending[context.labels.data[at]];
  };
  const mask = own.data.map((_, at) => (continues(at) || isSeed(at) ? 1 : 0));
  const result = emptyLabels(size, size);
  for (const { pixels } of components(mask, size, size, true)) {
    if (!pixels.some(isSeed)) continue;
    for (const at of pixels) if (continues(at)) result.data[at] = context.labels.data[at];
  }
  return result;
}
