/**
 * The GPU: its limits, its pipelines, the encoder that the ops of one turn share, and what to do when it is gone.
 *
 * @module
 */
import { BackendError, DeviceLostError } from "../../core/errors.ts";

const OPTIONAL_FEATURES: readonly GPUFeatureName[] = ["shader-f16", "subgroups" as GPUFeatureName, "timestamp-query"];

/** Whether shaders may read storage textures. */
function readsTextures(): boolean {
  const { wgslLanguageFeatures } = globalThis.navigator.gpu as GPU & { wgslLanguageFeatures?: ReadonlySet<string> };
  return wgslLanguageFeatures?.has("readonly_and_readwrite_storage_textures") ?? false;
}

/** Dispatches recorded before they are handed to the GPU without waiting for the end of the turn. */
const MAX_PENDING = 512;

/** How a pipeline sees a buffer; `turn` is a uniform whose offset is given with each dispatch, `image` a copy of it. */
export type Access = "read" | "write" | "uniform" | "turn" | "image";

/** What is asked of a device. */
export interface DeviceOptions {
  /** Whether products of f16 are computed in f16. */
  readonly f16Arithmetic?: boolean;
}

/** A device with everything on it that is made once. */
export class Device {
  readonly limits: GPUSupportedLimits;
  /** Whether the adapter runs on the CPU: lanes are SIMD lanes there, and a workgroup is one thread. */
  readonly software: boolean;
  /** Whether kernels that read much had better read images of it. */
  readonly images: boolean;
  readonly description: string;
  readonly timestamps: boolean;
  readonly f16Arithmetic: boolean;
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #pipelines = new Map<string, { readonly pipeline: GPUComputePipeline; users: number }>();
  readonly #errors: string[] = [];
  readonly #gone: Promise<never>;
  #lost: DeviceLostError | null = null;
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #pending = 0;
  /** Counts submissions: a buffer last used in the current one may not be overwritten by the host before it is sent. */
  epoch = 1;

  constructor(readonly gpu: GPUDevice, info: GPUAdapterInfo, { f16Arithmetic = false }: DeviceOptions) {
    this.f16Arithmetic = f16Arithmetic;
    this.limits = gpu.limits;
    this.description = nameOf(info);
    this.software = /llvmpipe|swiftshader|basic render/i.test(`${info.description} ${info.device}`);
    this.images = /llvmpipe/i.test(this.description) && readsTextures();
    this.timestamps = gpu.features.has("timestamp-query");
    gpu.addEventListener("uncapturederror", (event) => {
      event.preventDefault?.();
      this.#errors.push((event as GPUUncapturedErrorEvent).error.message);
    });
    this.#gone = gpu.lost.then(({ reason, message }) => {
      this.#lost = new DeviceLostError(
        `Cannot use the GPU any more: the device was lost (${
          reason || "unknown"
        }: ${message}), and its tensors with it`,
      );
      throw this.#lost;
    });
    this.#gone.catch(() => {});
  }

  /** Whether the device is gone. */
  get lost(): boolean {
    return this.#lost !== null;
  }

  /** Throws once the device is lost. */
  check(): void {
    if (this.#lost) throw this.#lost;
  }

  /** Throws the first error that the GPU reported since the last call. */
  checkErrors(): void {
    this.check();
    const [first] = this.#errors.splice(0);
    if (first) throw new BackendError(`Cannot trust what webgpu computed: ${first}`);
  }

  /** `promise`, or a DeviceLostError as soon as the device is gone. */
  async orLost<T>(promise: Promise<T>): Promise<T> {
    try {
      return await Promise.race([promise, this.#gone]);
    } catch (error) {
      await Promise.resolve();
      throw this.#lost ?? error;
    }
  }

  /** The layout of a bind group. */
  layout(accesses: readonly Access[]): GPUBindGroupLayout {
    const key = accesses.join();
    let layout = this.#layouts.get(key);
    if (!layout) {
      const types = { read: "read-only-storage", write: "storage", uniform: "uniform", turn: "uniform" } as const;
      layout = this.gpu.createBindGroupLayout({
        label: key,
        entries: accesses.map((access, binding) => ({
          binding,
          visibility: GPUShaderStage.COMPUTE,
          ...access === "image"
            ? { storageTexture: { access: "read-only", format: "rgba32float" } }
            : { buffer: { type: types[access], hasDynamicOffset: access === "turn" } },
        })),
      });
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  /** The pipeline of a shader, to be released after its last use; equal texts share one. */
  pipeline(name: string, code: string, accesses: readonly Access[]): GPUComputePipeline {
    let shared = this.#pipelines.get(code);
    if (!shared) {
      this.check();
      const label = name.slice(0, 80);
      const pipeline = this.gpu.createComputePipeline({
        label,
        layout: this.gpu.createPipelineLayout({ bindGroupLayouts: [this.layout(accesses)] }),
        compute: { module: this.gpu.createShaderModule({ label, code }), entryPoint: "main" },
      });
      this.#pipelines.set(code, shared = { pipeline, users: 0 });
    }
    shared.users++;
    return shared.pipeline;
  }

  /** Forgets the pipeline of a shader that nobody uses any more. */
  releasePipeline(code: string): void {
    const shared = this.#pipelines.get(code);
    if (shared && --shared.users === 0) this.#pipelines.delete(code);
  }

  /** The encoder of this turn. */
  encoder(): GPUCommandEncoder {
    this.#pass?.end();
    this.#pass = null;
    return this.#open();
  }

  #open(): GPUCommandEncoder {
    if (!this.#encoder) {
      this.check();
      this.#encoder = this.gpu.createCommandEncoder();
      queueMicrotask(() => this.#lost ? undefined : this.flush());
    }
    return this.#encoder;
  }

  /** The compute pass of this turn: dispatches see what earlier ones wrote. */
  pass(): GPUComputePassEncoder {
    if (++this.#pending > MAX_PENDING) this.flush();
    this.#pass ??= this.#open().beginComputePass();
    return this.#pass;
  }

  /** Hands what was recorded to the GPU. */
  flush(): void {
    const encoder = this.#encoder;
    if (!encoder) return;
    this.#pass?.end();
    this.#pass = null;
    this.#encoder = null;
    this.#pending = 0;
    this.epoch++;
    this.gpu.queue.submit([encoder.finish()]);
  }

  destroy(): void {
    this.#encoder = null;
    this.#pass = null;
    this.gpu.destroy();
  }
}

function nameOf({ description, device, vendor }: GPUAdapterInfo): string {
  return description || device || vendor || "an unnamed adapter";
}

/** Opens the best adapter with the limits that it really has. */
export async function openDevice(options: DeviceOptions): Promise<Device> {
  const gpu = (globalThis.navigator as { gpu?: GPU } | undefined)?.gpu;
  if (!gpu) throw new BackendError("Cannot use webgpu: this runtime has no navigator.gpu");
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new BackendError("Cannot use webgpu: no adapter was found");
  const { limits, features, info } = adapter;
  if (options.f16Arithmetic && !features.has("shader-f16")) {
    throw new BackendError(`Cannot compute in f16 on webgpu: ${nameOf(info)} has no shader-f16`);
  }
  const device = await adapter.requestDevice({
    requiredFeatures: OPTIONAL_FEATURES.filter((feature) => features.has(feature)),
    requiredLimits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
    },
  });
  return new Device(device, info, options);
}
