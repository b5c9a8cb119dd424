/**
 * Images: copies of buffers as textures, for adapters that read texels faster than elements.
 *
 * llvmpipe reads a buffer for one lane after another, each behind a test of whether it is active; the texels of all lanes
 * it reads at once. So a kernel that reads its operands many times over is several times as fast on a copy of them.
 *
 * @module
 */
import type { Device } from "./device.ts";

/** Texels of a row, of four f32 each. */
export const TEXELS = 1024;

/** Products of two numbers in an op that is worth the copies of its operands. */
export const WORTH_IMAGES = 2 ** 20;

const BYTES_PER_TEXEL = 16;
const ROW_BYTES = TEXELS * BYTES_PER_TEXEL;

let ids = 0;

/** A texture; `id` names it in caches. */
export interface Image {
  readonly id: number;
  readonly rows: number;
  readonly texture: GPUTexture;
  readonly view: GPUTextureView;
}

/** Keeps one image for each image that a kernel reads: kernels run one after another, so all of them share these. */
export class Images {
  readonly #slots: Image[] = [];

  constructor(readonly device: Device) {}

  /** Whether an image can hold so many bytes. */
  fits(bytes: number): boolean {
    return bytes <= this.device.limits.maxTextureDimension2D * ROW_BYTES;
  }

  /** The image that number `slot` of a kernel is read from, large enough for `bytes`. */
  at(slot: number, bytes: number): Image {
    const rows = Math.ceil(bytes / ROW_BYTES), old = this.#slots[slot];
    if (old && old.rows >= rows) return old;
    if (old) {
      this.device.flush();
      old.texture.destroy();
    }
    const most = this.device.limits.maxTextureDimension2D;
    const height = Math.min(most, 2 ** Math.ceil(Math.log2(Math.max(rows, 16))));
    const texture = this.device.gpu.createTexture({
      size: [TEXELS, height],
      format: "rgba32float",
      usage: GPUTextureUsage.STORAGE_BINDING | GPUTextureUsage.COPY_DST,
    });
    return this.#slots[slot] = { id: ++ids, rows: height, texture, view: texture.createView() };
  }

  /** Records the copy of `bytes` bytes of a buffer, from a multiple of 16 on. */
  copy(encoder: GPUCommandEncoder, buffer: GPUBuffer, offset: number, bytes: number, { texture }: Image): void {
    const whole = Math.floor(bytes / ROW_BYTES), rest = Math.ceil((bytes % ROW_BYTES) / BYTES_PER_TEXEL);
    if (whole > 0) {
      encoder.copyBufferToTexture({ buffer, offset, bytesPerRow: ROW_BYTES }, { texture }, [TEXELS, whole]);
    }
    if (rest > 0) {
      const from = { buffer, offset: offset + whole * ROW_BYTES };
      encoder.copyBufferToTexture(from, { texture, origin: [0, whole] }, [rest, 1]);
    }
  }
}
