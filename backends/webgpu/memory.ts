/**
 * GPU buffers: a pool by size class, uploads, downloads, and the small uniform slots that hold kernels' numbers.
 *
 * @module
 */
import { BackendError } from "../../core/errors.ts";
import type { Device } from "./device.ts";
import { Images } from "./images.ts";
import { Tuner } from "./tuning.ts";

/** Bytes that may wait in the pool for their next use. */
const POOL_BYTES = 512 * 2 ** 20;
/** Largest staging buffer that is kept for the next read. */
const STAGED_BYTES = 16 * 2 ** 20;
const UNIFORM_BLOCK = 65536;

let ids = 0;

/** A piece of GPU memory; `id` names it in caches. */
export class WebgpuBuffer {
  readonly id: number = ++ids;
  /** The submission that used it last. */
  epoch = 0;
  constructor(readonly gpu: GPUBuffer, /** Size class. */ readonly bytes: number) {}
}

/** `bytes` rounded up to its size class: four classes per power of two, at least 256 bytes. */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = Math.max(256, 2 ** (Math.floor(Math.log2(bytes - 1)) - 2));
  return Math.ceil(bytes / step) * step;
}

/** Where a kernel's numbers lie. */
export interface UniformSlot {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** Hands out GPU memory and takes it back. Work is ordered, so freed memory may be used again at once. */
export class Memory {
  readonly #free = new Map<number, WebgpuBuffer[]>();
  readonly #staging = new Map<number, GPUBuffer[]>();
  readonly #slots = new Map<number, UniformSlot[]>();
  readonly #turns = new Map<string, GPUBuffer>();
  #nothing: WebgpuBuffer | null = null;
  #nowhere: WebgpuBuffer | null = null;
  #pooled = 0;
  #block: { buffer: GPUBuffer; used: number } | null = null;

  readonly tuner: Tuner = new Tuner(this);
  readonly images: Images;

  constructor(readonly device: Device) {
    this.images = new Images(device);
  }

  /** Largest buffer that a kernel can see whole. */
  get largest(): number {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.device.limits;
    return Math.min(maxBufferSize, maxStorageBufferBindingSize);
  }

  alloc(bytes: number, limit: number = this.largest): WebgpuBuffer {
    this.device.check();
    if (bytes > limit) {
      throw new BackendError(
        `Cannot allocate ${bytes} bytes on webgpu: ${this.device.description} allows ${limit} in one buffer`,
      );
    }
    const size = Math.min(sizeClass(bytes), Math.floor(limit / 16) * 16);
    const pooled = this.#free.get(size)?.pop();
    if (pooled) {
      this.#pooled -= size;
      return pooled;
    }
    const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
    return new WebgpuBuffer(this.device.gpu.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST }), size);
  }

  free(buffer: WebgpuBuffer): void {
    if (this.#pooled + buffer.bytes > POOL_BYTES && this.#pooled > 0) this.#trim();
    let list = this.#free.get(buffer.bytes);
    if (!list) this.#free.set(buffer.bytes, list = []);
    list.push(buffer);
    this.#pooled += buffer.bytes;
  }

  /** Gives everything in the pool back to the system. */
  #trim(): void {
    this.device.flush();
    for (const list of this.#free.values()) for (const { gpu } of list) gpu.destroy();
    this.#free.clear();
    this.#pooled = 0;
  }

  write(buffer: WebgpuBuffer, data: ArrayBufferView): void {
    this.device.check();
    if (buffer.epoch === this.device.epoch) this.device.flush();
    let bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (bytes.length % 4 !== 0) {
      const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
      padded.set(bytes);
      bytes = padded;
    }
    this.device.gpu.queue.writeBuffer(buffer.gpu, 0, bytes as Uint8Array<ArrayBuffer>);
  }

  async read(buffer: WebgpuBuffer, bytes: number): Promise<ArrayBuffer> {
    const copy = await this.readRaw(buffer.gpu, bytes);
    await this.tuner.run();
    return copy;
  }

  /** Copies the first `bytes` bytes of any buffer out. */
  async readRaw(buffer: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    const { device } = this;
    device.check();
    const size = sizeClass(bytes);
    const staging = this.#staging.get(size)?.pop() ??
      device.gpu.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    device.encoder().copyBufferToBuffer(buffer, 0, staging, 0, Math.ceil(bytes / 4) * 4);
    device.flush();
    await device.orLost(staging.mapAsync(GPUMapMode.READ));
    const copy = staging.getMappedRange().slice(0, bytes);
    staging.unmap();
    if (size > STAGED_BYTES) staging.destroy();
    else this.#staging.set(size, [...this.#staging.get(size) ?? [], staging]);
    device.checkErrors();
    return copy;
  }

  /** Stands where a buffer without elements would be read. */
  get nothing(): WebgpuBuffer {
    return this.#nothing ??= this.alloc(16);
  }

  /** Stands where a buffer without elements would be written: no dispatch may read what it writes. */
  get nowhere(): WebgpuBuffer {
    return this.#nowhere ??= this.alloc(16);
  }

  /** A uniform slot for every combination of turns of loops of these lengths, holding the turns. */
  turns(lengths: readonly number[]): GPUBuffer {
    const key = lengths.join();
    let buffer = this.#turns.get(key);
    if (!buffer) {
      const step = this.device.limits.minUniformBufferOffsetAlignment / 4;
      const count = lengths.reduce((product, n) => product * n, 1);
      const words = new Uint32Array(Math.max(1, count) * step);
      for (let slot = 0; slot < count; slot++) {
        let rest = slot;
        for (let i = lengths.length - 1; i >= 0; i--) {
          words[slot * step + i] = rest % lengths[i];
          rest = Math.floor(rest / lengths[i]);
        }
      }
      const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
      this.#turns.set(key, buffer = this.device.gpu.createBuffer({ size: words.byteLength, usage }));
      this.device.gpu.queue.writeBuffer(buffer, 0, words);
    }
    return buffer;
  }

  /** A uniform slot holding `numbers`. */
  uniform(numbers: Uint32Array): UniformSlot {
    const size = Math.ceil(numbers.byteLength / 256) * 256;
    const slot = this.#slots.get(size)?.pop() ?? this.#newSlot(size);
    this.device.gpu.queue.writeBuffer(slot.buffer, slot.offset, numbers as Uint32Array<ArrayBuffer>);
    return slot;
  }

  #newSlot(size: number): UniformSlot {
    if (!this.#block || this.#block.used + size > UNIFORM_BLOCK) {
      const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
      this.#block = { buffer: this.device.gpu.createBuffer({ size: UNIFORM_BLOCK, usage }), used: 0 };
    }
    const slot = { buffer: this.#block.buffer, offset: this.#block.used, size };
    this.#block.used += size;
    return slot;
  }

  /** Takes a uniform slot back, once the work that reads it has been handed over. */
  freeUniform(slot: UniformSlot): void {
    this.device.flush();
    const list = this.#slots.get(slot.size);
    if (list) list.push(slot);
    else this.#slots.set(slot.size, [slot]);
  }
}
