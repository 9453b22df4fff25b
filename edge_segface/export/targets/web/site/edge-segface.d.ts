export interface Square {
  /** Centre in pixels, and side. */
  x: number;
  y: number;
  side: number;
}

export interface Face {
  /** Left, top, right, bottom in pixels. */
  box: [number, number, number, number];
  /** Probability that it is a face. */
  score: number;
  square: Square;
}

export interface Labels {
  width: number;
  height: number;
  /** One class id a pixel, row by row; `FaceParser.model.parts` names them. */
  labels: Uint8Array;
  /** Milliseconds in the worker. */
  ms: number;
}

export interface Parsed extends Labels {
  faces: Face[];
}

export interface Followed extends Labels {
  /** To pass on with the next frame. */
  squares: Square[];
}

export interface Model {
  name: string;
  size: number;
  parts: string[];
  titles: string[];
  palette: [number, number, number][];
}

export interface LoadOptions {
  /** Folder of the model and of ONNX Runtime. Default: that of this module. */
  base?: string | URL;
  /** `auto` takes WebGPU if it gives the same classes in less time. */
  runtime?: "auto" | "wasm" | "webgpu";
  /** Of WebAssembly; more than one need a page that is isolated from other origins. Default: up to 4, and one core less than there are. */
  threads?: number;
}

export type Source = string | URL | ImageBitmapSource;

export class FaceParser {
  static load(options?: LoadOptions): Promise<FaceParser>;
  readonly model: Model;
  readonly runtime: "wasm" | "webgpu";
  readonly threads: number;
  /** Why WebGPU is not used, or empty. */
  readonly note: string;
  parse(source: Source, options?: { whole?: boolean }): Promise<Parsed>;
  follow(source: Source, squares: Square[]): Promise<Followed>;
  time(runs?: number): Promise<number[]>;
  close(): void;
}
