/**
 * The backend's memory: one growing WebAssembly memory, and an allocator for it.
 *
 * Freed blocks of recent sizes are handed out again as they are; the others are merged with their free neighbours and
 * kept by size class.
 *
 * @module
 */
import { BackendError } from "../../core/errors.ts";

const PAGE = 65536;
/** Pages that can be used. One more stays unused at the end, so that reading vectors past a block's end stays inside. */
const MOST_PAGES = 65535;
const ALIGNMENT = 64;
const FIRST_PAGES = 256;
/** Bytes at the start of memory that the dispatcher owns. */
const RESERVED = 1024;
/** Address of the number of pages there are, for threads that may not have noticed. */
export const PAGES = 256;
/** Freed blocks of one size that are kept whole. */
const MOST_RECENT = 8;
/** Larger blocks are always merged. */
const LARGEST_RECENT = 1 << 24;

/** An allocator over one WebAssembly memory. Pointers are byte addresses. */
export class Heap {
  readonly memory: WebAssembly.Memory;
  /** Views of the whole memory, replaced when it grows. */
  bytes!: Uint8Array;
  words!: Int32Array;

  readonly #sizes = new Map<number, number>();
  readonly #recent = new Map<number, number[]>();
  /** Free blocks: start to size, end to start, and starts by size class. */
  readonly #free = new Map<number, number>();
  readonly #endings = new Map<number, number>();
  readonly #classes: Set<number>[] = Array.from({ length: 33 }, () => new Set());
  #end = 0;

  constructor(shared: boolean) {
    this.memory = new WebAssembly.Memory(
      shared
        ? { initial: FIRST_PAGES, maximum: MOST_PAGES + 1, shared: true }
        : { initial: FIRST_PAGES, maximum: MOST_PAGES + 1 },
    );
    this.#refresh();
    this.#insert(RESERVED, this.#end - RESERVED);
  }

  #refresh(): void {
    this.bytes = new Uint8Array(this.memory.buffer);
    this.words = new Int32Array(this.memory.buffer);
    this.#end = this.memory.buffer.byteLength - PAGE;
    Atomics.store(this.words, PAGES / 4, this.memory.buffer.byteLength / PAGE);
  }

  /** A block of at least `bytes` bytes, aligned for vectors; its contents are whatever was there. */
  alloc(bytes: number): number {
    const size = Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT;
    const start = this.#recent.get(size)?.pop() ?? this.#take(size);
    this.#sizes.set(start, size);
    return start;
  }

  /** Gives a block back. */
  free(start: number): void {
    const size = this.#sizes.get(start);
    if (size === undefined) throw new BackendError(`Cannot free ${start}: no such block is in use`);
    this.#sizes.delete(start);
    if (size <= LARGEST_RECENT) {
      let recent = this.#recent.get(size);
      if (!recent) this.#recent.set(size, recent = []);
      if (recent.length < MOST_RECENT) {
        recent.push(start);
        return;
      }
    }
    this.#insert(start, size);
  }

  #take(size: number): number {
    const start = this.#find(size) ?? this.#findAfterMerging(size) ?? this.#findAfterGrowing(size);
    const whole = this.#remove(start);
    if (whole > size) this.#insert(start + size, whole - size);
    return start;
  }

  #find(size: number): number | undefined {
    const own = sizeClass(size);
    for (const start of this.#classes[own]) if (this.#free.get(start)! >= size) return start;
    for (let larger = own + 1; larger < this.#classes.length; larger++) {
      for (const start of this.#classes[larger]) return start;
    }
  }

  #findAfterMerging(size: number): number | undefined {
    for (const [blockSize, starts] of this.#recent) for (const start of starts) this.#insert(start, blockSize);
    this.#recent.clear();
    return this.#find(size);
  }

  #findAfterGrowing(size: number): number {
    const before = this.#end;
    const pages = Math.ceil(size / PAGE), have = before / PAGE;
    const generous = Math.min(Math.max(pages, Math.ceil(have / 4)), MOST_PAGES - have);
    if (!this.#grow(Math.max(pages, generous)) && !this.#grow(pages)) {
      throw new BackendError(
        `Cannot allocate ${megabytes(size)} on wasm: ${megabytes(before)} are in use and the limit is 4 GB`,
      );
    }
    this.#refresh();
    this.#insert(before, this.#end - before);
    return this.#find(size)!;
  }

  #grow(pages: number): boolean {
    if (this.#end / PAGE + pages > MOST_PAGES) return false;
    try {
      this.memory.grow(pages);
      return true;
    } catch {
      return false;
    }
  }

  /** Adds a free block, merged with the free blocks that touch it. */
  #insert(start: number, size: number): void {
    const before = this.#endings.get(start);
    if (before !== undefined) {
      size += this.#remove(before);
      start = before;
    }
    if (this.#free.has(start + size)) size += this.#remove(start + size);
    this.#free.set(start, size);
    this.#endings.set(start + size, start);
    this.#classes[sizeClass(size)].add(start);
  }

  #remove(start: number): number {
    const size = this.#free.get(start)!;
    this.#free.delete(start);
    this.#endings.delete(start + size);
    this.#classes[sizeClass(size)].delete(start);
    return size;
  }
}

function sizeClass(size: number): number {
  return size < 2 ** 32 ? 31 - Math.clz32(size) : 32;
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
}
