/**
 * Files of results.
 *
 * @module
 */

/** Writes a file whole or not at all: under another name first, then renamed. */
export async function writeFile(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    await Deno.writeFile(temporary, typeof content === "string" ? new TextEncoder().encode(content) : content);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}
