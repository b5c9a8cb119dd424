/**
 * The libraries by name. Each is loaded when it is asked for: a process pays for what it times, and for no other.
 *
 * @module
 */
import type { Library, LibraryOptions } from "./library.ts";

export type { Job, Library, LibraryOptions } from "./library.ts";

/** The libraries that run in Deno. */
export type LibraryName = "tenon" | "tfjs" | "jaxjs" | "onnxruntime";

/** Names to print. */
export const TITLES: Readonly<Record<LibraryName | "pytorch", string>> = {
  tenon: "Tenon",
  tfjs: "TensorFlow.js",
  jaxjs: "jax-js",
  onnxruntime: "ONNX Runtime Web",
  pytorch: "PyTorch",
};

/** Loads a library and starts it on a device; throws where that does not work. */
export async function openLibrary(name: LibraryName, options: LibraryOptions): Promise<Library> {
  switch (name) {
    case "tenon":
      return await (await import("./tenon.ts")).openTenon(options);
    case "tfjs":
      return await (await import("./tfjs.ts")).openTfjs(options);
    case "jaxjs":
      return await (await import("./jaxjs.ts")).openJaxJs(options);
    case "onnxruntime":
      return (await import("./onnxruntime.ts")).openOnnxRuntime(options);
  }
}
