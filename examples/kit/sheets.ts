/**
 * Sheets of images as PNG, side by side like contact prints; and the same with a caption under each, as SVG.
 *
 * @module
 */
import { encode } from "npm:fast-png@8.0.0";

/** Red, green, blue, each from 0 to 255. */
export type Color = readonly [red: number, green: number, blue: number];

/** Images in row-major order, `[N, C, H, W]`; C is 1 for gray or 3 for red, green and blue. */
export interface Images {
  readonly data: ArrayLike<number>;
  readonly shape: readonly number[];
}

/** How images become a sheet. */
export interface SheetOptions {
  /** Images in a row; about as many as there are rows, by default. */
  readonly columns?: number;
  /** Pixels of the sheet, along each side, for one of an image. */
  readonly scale?: number;
  /** Pixels around each image; a frame is drawn there. */
  readonly padding?: number;
  /** The values of black and white; 0 and 1 by default, 0 and 255 for bytes. */
  readonly range?: readonly [black: number, white: number];
  /** Swaps black and white. */
  readonly invert?: boolean;
  /** What is around the images. */
  readonly background?: Color;
  /** A frame for some of the images, by position. */
  readonly frames?: readonly (Color | undefined)[];
}

/** A picture of bytes: red, green, blue for each pixel. */
interface Canvas {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** All images in a grid, as the bytes of a PNG file. Throws if there is none, or the shape is not `[N, C, H, W]`. */
export function imageSheet(images: Images, options: SheetOptions = {}): Uint8Array {
  const [count, , height, width] = checked(images);
  const { scale = 1, padding = 2, background = [255, 255, 255], frames = [] } = options;
  const columns = Math.min(count, options.columns ?? Math.ceil(Math.sqrt(count)));
  const cell = { width: width * scale + 2 * padding, height: height * scale + 2 * padding };
  const rows = Math.ceil(count / columns);
  const sheet = canvas(columns * cell.width, rows * cell.height, background);
  for (let i = 0; i < count; i++) {
    const left = (i % columns) * cell.width, top = Math.floor(i / columns) * cell.height;
    const frame = frames[i];
    if (frame) fill(sheet, { left, top, ...cell }, frame);
    paste(sheet, imageAt(images, i, options), { left: left + padding, top: top + padding, scale });
  }
  return encode({ ...sheet, channels: 3, depth: 8 });
}

function checked({ data, shape }: Images): readonly number[] {
  const [count, channels] = shape;
  if (shape.length !== 4 || count < 1 || (channels !== 1 && channels !== 3)) {
    throw new Error(`Cannot draw images of shape [${shape}]: it must be [N, 1 or 3, H, W]`);
  }
  const size = shape.reduce((product, side) => product * side, 1);
  if (data.length !== size) throw new Error(`Cannot draw images of shape [${shape}] from ${data.length} values`);
  return shape;
}

function canvas(width: number, height: number, color: Color): Canvas {
  const sheet = { width, height, data: new Uint8Array(width * height * 3) };
  fill(sheet, { left: 0, top: 0, width, height }, color);
  return sheet;
}

interface Area {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

function fill(sheet: Canvas, { left, top, width, height }: Area, color: Color): void {
  for (let y = top; y < top + height; y++) {
    for (let x = left; x < left + width; x++) sheet.data.set(color, (y * sheet.width + x) * 3);
  }
}

/** One image with its values as bytes. */
function imageAt({ data, shape }: Images, i: number, { range, invert = false }: SheetOptions): Canvas {
  const [, channels, height, width] = shape, area = height * width;
  const [black, white] = range ?? [0, data instanceof Uint8Array || data instanceof Uint8ClampedArray ? 255 : 1];
  const image = { width, height, data: new Uint8Array(area * 3) };
  for (let p = 0; p < area; p++) {
    for (let c = 0; c < 3; c++) {
      const value = data[(i * channels + (channels === 3 ? c : 0)) * area + p];
      const part = Math.min(1, Math.max(0, (value - black) / (white - black)));
      image.data[p * 3 + c] = Math.round(255 * (invert ? 1 - part : part));
    }
  }
  return image;
}

function paste(
  sheet: Canvas,
  image: Canvas,
  { left, top, scale }: { readonly left: number; readonly top: number; readonly scale: number },
): void {
  for (let y = 0; y < image.height * scale; y++) {
    for (let x = 0; x < image.width * scale; x++) {
      const from = (Math.floor(y / scale) * image.width + Math.floor(x / scale)) * 3;
      sheet.data.set(image.data.subarray(from, from + 3), ((top + y) * sheet.width + left + x) * 3);
    }
  }
}

/** How images become a sheet with words. */
export interface LabelledSheetOptions extends SheetOptions {
  readonly title?: string;
  /** What stands under each image. */
  readonly labels: readonly string[];
}

const TITLE = 34, CAPTION = 16;

/** All images in a grid, each above its label, as SVG text with the images inside it. */
export function labelledSheet(images: Images, options: LabelledSheetOptions): string {
  const [count, channels, height, width] = checked(images);
  const { title, labels, scale = 2, padding = 4, frames = [] } = options;
  const columns = Math.min(count, options.columns ?? Math.ceil(Math.sqrt(count)));
  const cell = { width: width * scale + 2 * padding, height: height * scale + 2 * padding + CAPTION };
  const head = title === undefined ? 0 : TITLE, size = channels * height * width;
  const cells = Array.from({ length: count }, (_, i) => {
    const x = (i % columns) * cell.width, y = head + Math.floor(i / columns) * cell.height;
    const one = {
      data: Array.from({ length: size }, (_, k) => images.data[i * size + k]),
      shape: [1, ...images.shape.slice(1)],
    };
    const range = options.range ?? (images.data instanceof Uint8Array ? [0, 255] as const : undefined);
    const png = imageSheet(one, { scale, padding, range, invert: options.invert, frames: [frames[i]] });
    return `<image x="${x}" y="${y}" width="${cell.width}" height="${cell.height - CAPTION}" ` +
      `href="data:image/png;base64,${png.toBase64()}"/>` +
      `<text x="${x + cell.width / 2}" y="${y + cell.height - 4}" text-anchor="middle">${
        escape(labels[i] ?? "")
      }</text>`;
  });
  const wide = columns * cell.width, high = head + Math.ceil(count / columns) * cell.height;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${wide}" height="${high}" viewBox="0 0 ${wide} ${high}" ` +
    `font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    ...(title === undefined ? [] : [`<text x="8" y="22" font-size="16" font-weight="bold">${escape(title)}</text>`]),
    ...cells,
    `</svg>`,
  ].join("\n");
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
