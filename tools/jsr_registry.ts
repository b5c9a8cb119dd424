/**
 * A JSR registry on the loopback address, small enough to read at once: it accepts a real `deno publish --token any`
 * and serves `jsr:` imports to a Deno whose `JSR_URL` points at it.
 *
 * ```text
 * POST /api/scopes/S/packages/P/versions/V    a gzipped tar of the package -> kept in memory
 * GET  /@S/P/meta.json                        its versions
 * GET  /@S/P/V_meta.json                      its exports, and size and checksum of each file
 * GET  /@S/P/V/path                           one file
 * ```
 * @module
 */
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";

/** One published version of a package. File names begin with "/". */
export interface Package {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

/** A running registry. `url` is the value for `JSR_URL`; `packages` grows with every publish. */
export interface Registry extends AsyncDisposable {
  readonly url: string;
  readonly packages: Package[];
}

/** Starts a registry that holds `packages`, on `port` or, when that is 0 or taken, on any free port. */
export function startRegistry(packages: readonly Package[], port: number = 0): Registry {
  const held = [...packages];
  const server = listen(port, (request) => answer(held, request));
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    packages: held,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

function listen(port: number, handler: (request: Request) => Promise<Response>): Deno.HttpServer<Deno.NetAddr> {
  const options = { hostname: "127.0.0.1", onListen() {} };
  try {
    return Deno.serve({ ...options, port }, handler);
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    return Deno.serve({ ...options, port: 0 }, handler);
  }
}

const PUBLISH = new URLPattern({ pathname: "/api/scopes/:scope/packages/:name/versions/:version" });
const META = new URLPattern({ pathname: "/@:scope/:name/meta.json" });
const VERSION_META = new URLPattern({ pathname: "/@:scope/:name/:version([^/]+)_meta.json" });
const FILE = new URLPattern({ pathname: "/@:scope/:name/:version/:path+" });

async function answer(packages: Package[], request: Request): Promise<Response> {
  const { method, url } = request;
  const publish = PUBLISH.exec(url);
  if (publish !== null && method === "POST") {
    const { scope, name, version } = publish.pathname.groups;
    const configFile = new URL(url).searchParams.get("config") ?? "/deno.json";
    packages.push(unpack(`@${scope}/${name}`, version!, configFile, await request.bytes()));
    return Response.json({ id: "1", status: "success", error: null });
  }
  if (publish !== null) return Response.json({ code: "packageVersionNotFound", message: "Not found" }, { status: 404 });
  if (new URL(url).pathname.startsWith("/api/")) return Response.json({ id: "1", status: "success", error: null });
  return serve(packages, url) ?? new Response("Not found", { status: 404 });
}

function serve(packages: readonly Package[], url: string): Response | undefined {
  const meta = META.exec(url)?.pathname.groups;
  if (meta !== undefined) return packageMeta(packages, meta.scope!, meta.name!);
  const groups = (VERSION_META.exec(url) ?? FILE.exec(url))?.pathname.groups;
  if (groups === undefined) return undefined;
  const name = `@${groups.scope}/${groups.name}`;
  const found = packages.find((held) => held.name === name && held.version === groups.version);
  if (found === undefined) return undefined;
  if (groups.path === undefined) return Response.json({ manifest: manifest(found), exports: found.exports });
  const body = found.files.get(`/${groups.path}`);
  return body && new Response(body, { headers: { "content-type": contentType(groups.path) } });
}

function packageMeta(packages: readonly Package[], scope: string, name: string): Response | undefined {
  const versions = packages.filter((held) => held.name === `@${scope}/${name}`).map((held) => held.version);
  if (versions.length === 0) return undefined;
  return Response.json({
    scope,
    name,
    latest: versions.at(-1),
    versions: Object.fromEntries(versions.map((version) => [version, {}])),
  });
}

function manifest({ files }: Package): Record<string, { size: number; checksum: string }> {
  const sha256 = (bytes: Uint8Array) => `sha256-${createHash("sha256").update(bytes).digest("hex")}`;
  return Object.fromEntries(
    [...files].map(([path, bytes]) => [path, { size: bytes.length, checksum: sha256(bytes) }]),
  );
}

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  ts: "text/typescript",
  js: "text/javascript",
  json: "application/json",
  md: "text/markdown",
};

function contentType(path: string): string {
  return CONTENT_TYPES[path.slice(path.lastIndexOf(".") + 1)] ?? "application/octet-stream";
}

function unpack(name: string, version: string, configFile: string, tarball: Uint8Array<ArrayBuffer>): Package {
  const files = untar(gunzipSync(tarball));
  const config = files.get(configFile);
  if (config === undefined) throw new Error(`Cannot publish ${name}: its archive has no ${configFile}`);
  const { exports } = JSON.parse(new TextDecoder().decode(config)) as { exports: string | Record<string, string> };
  return { name, version, exports: typeof exports === "string" ? { ".": exports } : exports, files };
}

// A tar archive (POSIX ustar, with GNU long names) is a row of 512-byte blocks: a header, then the file's bytes padded
// to whole blocks. Of the header only name [0,100), size in octal [124,136), type [156] and prefix [345,500) matter.
const BLOCK = 512;

/** The plain files of a tar archive; names begin with "/". */
function untar(archive: Uint8Array): Map<string, Uint8Array<ArrayBuffer>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  let longName = "";
  for (let at = 0; at + BLOCK <= archive.length && archive[at] !== 0;) {
    const header = archive.subarray(at, at + BLOCK);
    const size = parseInt(field(header, 124, 12), 8);
    const body = new Uint8Array(archive.subarray(at + BLOCK, at + BLOCK + size));
    const type = field(header, 156, 1);
    if (type === "L") {
      longName = field(body, 0, size);
    } else {
      const prefix = field(header, 345, 155);
      const name = longName || (prefix && `${prefix}/`) + field(header, 0, 100);
      if (type === "0" || type === "") files.set(`/${name.replace(/^\.?\//, "")}`, body);
      longName = "";
    }
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return files;
}

function field(bytes: Uint8Array, start: number, length: number): string {
  return new TextDecoder().decode(bytes.subarray(start, start + length)).split("\0", 1)[0]!.trim();
}
