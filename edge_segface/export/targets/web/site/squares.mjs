// Squares of an image: their crops, which the network receives, and their labels, pasted back.
//
// The counterpart of frames.py and face/merge.py of the Python package, pixel for pixel up to rounding. Coordinates are
// those of pixel centres: the first pixel spans -0.5..0.5. An image is {width, height, data} with bytes red, green,
// blue, alpha; labels are {width, height, data} with one class id a pixel; a square is {x, y, side}.

const OUTSIDE_BGR = [104, 116, 124];
const NEARLY = 1e-6;

export const wholeOf = (image) => ({
  x: (image.width - 1) / 2,
  y: (image.height - 1) / 2,
  side: Math.max(image.width, image.height),
});

export function squareOf([left, top, right, bottom], grow = 1) {
  return {
    x: (left + right - 1) / 2,
    y: (top + bottom - 1) / 2,
    side: grow * Math.max(right - left, bottom - top),
  };
}

// The pixels of an image that a square touches; the last two are exclusive.
export function boundsOf(square, image) {
  const left = square.x - square.side / 2 + 0.5;
  const top = square.y - square.side / 2 + 0.5;
  return [
    Math.max(Math.floor(left + NEARLY), 0),
    Math.max(Math.floor(top + NEARLY), 0),
    Math.min(Math.ceil(left + square.side - NEARLY), image.width),
    Math.min(Math.ceil(top + square.side - NEARLY), image.height),
  ];
}

// The crop of a square as `size` x `size` bytes of blue, green and red: antialiased when shrunk.
export function cropOf(image, square, size) {
  const [left, top, right, bottom] = boundsOf(square, image);
  const result = new Uint8Array(size * size * 3);
  const shrink = square.side / size;
  const [width, height] = [right - left, bottom - top];
  if (width <= 0 || height <= 0) {
    for (let at = 0; at < result.length; at++) result[at] = OUTSIDE_BGR[at % 3];
    return result;
  }
  const small = shrink > 1 ? [Math.max(1, even(width / shrink)), Math.max(1, even(height / shrink))] : [width, height];
  const part = averaged(image, left, top, width, height, ...small);
  // Where the first pixel of the crop lies in the part, and how far it is to the next one.
  const stepX = (shrink * small[0]) / width;
  const stepY = (shrink * small[1]) / height;
  const firstX = ((square.x - square.side / 2 + shrink / 2 - left + 0.5) * small[0]) / width - 0.5;
  const firstY = ((square.y - square.side / 2 + shrink / 2 - top + 0.5) * small[1]) / height - 0.5;
  const columns = Array.from({ length: size }, (_, index) => firstX + index * stepX);
  for (let row = 0; row < size; row++) {
    const y = firstY + row * stepY;
    const upper = Math.floor(y);
    const down = y - upper;
    for (let column = 0; column < size; column++) {
      const x = columns[column];
      const before = Math.floor(x);
      const over = x - before;
      const weights = [(1 - down) * (1 - over), (1 - down) * over, down * (1 - over), down * over];
      const at = 3 * (row * size + column);
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let corner = 0; corner < 4; corner++) {
          if (!weights[corner]) continue;
          const px = before + (corner & 1);
          const py = upper + (corner >> 1);
          const inside = px >= 0 && py >= 0 && px < small[0] && py < small[1];
          sum += weights[corner] * (inside ? part[3 * (py * small[0] + px) + channel] : OUTSIDE_BGR[channel]);
        }
        result[at + channel] = Math.round(sum);
      }
    }
  }
  return result;
}

// A part of an image, averaged to a smaller size, as blue, green and red.
function averaged(image, left, top, width, height, newWidth, newHeight) {
  const across = spans(width, newWidth);
  const down = spans(height, newHeight);
  const rows = new Float32Array(height * newWidth * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < newWidth; x++) {
      const at = 3 * (y * newWidth + x);
      for (const [place, weight] of across[x]) {
        const from = 4 * ((top + y) * image.width + left + place);
        rows[at] += weight * image.data[from + 2];
        rows[at + 1] += weight * image.data[from + 1];
        rows[at + 2] += weight * image.data[from];
      }
    }
  }
  const result = new Uint8Array(newWidth * newHeight * 3);
  const line = new Float32Array(newWidth * 3);
  for (let y = 0; y < newHeight; y++) {
    line.fill(0);
    for (const [place, weight] of down[y]) {
      const from = place * line.length;
      for (let at = 0; at < line.length; at++) line[at] += weight * rows[from + at];
    }
    for (let at = 0; at < line.length; at++) result[y * line.length + at] = even(line[at]);
  }
  return result;
}

// For each new pixel of a line, the old pixels that it covers and the share of each.
function spans(length, newLength) {
  const scale = length / newLength;
  return Array.from({ length: newLength }, (_, index) => {
    const [from, to] = [index * scale, Math.min((index + 1) * scale, length)];
    const covered = [];
    for (let place = Math.floor(from + NEARLY); place < to - NEARLY; place++) {
      covered.push([place, (Math.min(place + 1, to) - Math.max(place, from)) / (to - from)]);
    }
    return covered;
  });
}

// Rounds halves to the even number, as Python does.
export function even(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2) ? below + 1 : below;
}

export const emptyLabels = (width, height, fill = 0) => ({
  width,
  height,
  data: new Uint8Array(width * height).fill(fill),
});

// Writes the labels (side `size`) of a square into those of its image, nearest pixel.
export function paste(labels, square, onto) {
  const size = labels.width;
  const scale = size / square.side;
  const [left, top, right, bottom] = boundsOf(square, onto);
  const place = (at, centre) => even((at - centre) * scale + (size - 1) / 2);
  for (let y = top; y < bottom; y++) {
    const row = place(y, square.y);
    if (row < 0 || row >= size) continue;
    for (let x = left; x < right; x++) {
      const column = place(x, square.x);
      if (column >= 0 && column < size) onto.data[y * onto.width + x] = labels.data[row * size + column];
    }
  }
}

// The labels of a square for the pixels `bounds` of its image: where it is enlarged, classes are interpolated, and the
// strongest wins.
export function resampled(labels, square, [left, top, right, bottom]) {
  const size = labels.width;
  const result = emptyLabels(Math.max(0, right - left), Math.max(0, bottom - top));
  if (square.side <= size) {
    paste(labels, { ...square, x: square.x - left, y: square.y - top }, result);
    return result;
  }
  const scale = square.side / size;
  const strongest = new Uint8Array(result.data.length);
  const cornerX = square.x - square.side / 2 + 0.5 - left;
  const cornerY = square.y - square.side / 2 + 0.5 - top;
  const clamp = (value) => Math.min(size - 1, Math.max(0, value));
  for (const [id, [x0, y0, x1, y1]] of boxesOf(labels)) {
    const first = (corner, low) => Math.max(0, Math.trunc(corner + (low - 1) * scale));
    const last = (corner, high, end) => Math.min(end, Math.max(0, Math.trunc(corner + (high + 1) * scale) + 1));
    for (let y = first(cornerY, y0); y < last(cornerY, y1, result.height); y++) {
      const sy = (y + top - square.y) / scale + (size - 1) / 2;
      const upper = Math.floor(sy);
      const down = sy - upper;
      const rows = [clamp(upper) * size, clamp(upper + 1) * size];
      for (let x = first(cornerX, x0); x < last(cornerX, x1, result.width); x++) {
        const sx = (x + left - square.x) / scale + (size - 1) / 2;
        const before = Math.floor(sx);
        const over = sx - before;
        const columns = [clamp(before), clamp(before + 1)];
        const at = (row, column) => (labels.data[rows[row] + columns[column]] === id ? 255 : 0);
        const share = Math.round(
          (1 - down) * ((1 - over) * at(0, 0) + over * at(0, 1)) + down * ((1 - over) * at(1, 0) + over * at(1, 1)),
        );
        const place = y * result.width + x;
        if (share > strongest[place]) {
          strongest[place] = share;
          result.data[place] = id;
        }
      }
    }
  }
  return result;
}

// The box of each class that occurs, by rising id.
function boxesOf(labels) {
  const boxes = new Map();
  for (let y = 0; y < labels.height; y++) {
    for (let x = 0; x < labels.width; x++) {
      const id = labels.data[y * labels.width + x];
      const box = boxes.get(id);
      if (!box) boxes.set(id, [x, y, x + 1, y + 1]);
      else {
        box[0] = Math.min(box[0], x);
        box[2] = Math.max(box[2], x + 1);
        box[3] = y + 1;
      }
    }
  }
  return [...boxes].sort((one, other) => one[0] - other[0]);
}

// All squares in one map of their image; where they overlap, the larger one wins.
export function merged(looks, image) {
  const labels = emptyLabels(image.width, image.height);
  for (const look of [...looks].sort((one, other) => one.square.side - other.square.side)) {
    const bounds = boundsOf(look.square, image);
    copyOver(resampled(look.labels, look.square, bounds), bounds, labels, () => true);
  }
  return labels;
}

// Copies what is not background into a part of the labels, where `free` allows it.
export function copyOver(part, [left, top], labels, free) {
  for (let y = 0; y < part.height; y++) {
    for (let x = 0; x < part.width; x++) {
      const id = part.data[y * part.width + x];
      const at = (top + y) * labels.width + left + x;
      if (id && free(at)) labels.data[at] = id;
    }
  }
}
