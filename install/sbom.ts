/**
 * The bill of materials of the image: what pcnk is made of, and what lies beside it, in CycloneDX 1.5
 * (https://cyclonedx.org/docs/1.5/json/). It names no time, so that two builds of a commit have the same.
 */

/** An entry of package-lock.json. */
interface Locked {
  version?: string;
  license?: string;
  /** `sha512-` and base64. */
  integrity?: string;
  dev?: boolean;
  optional?: boolean;
}

/** A Debian package, as dpkg-query has it. */
export interface DebianPackage {
  name: string;
  version: string;
  architecture: string;
}

interface Materials {
  /** `pcnk version --json` */
  build: {
    version: string;
    commit: string;
    deno: string;
    v8: string;
    runtime: string;
    libbpf: string;
  };
  /** SHA-256 of the executable, hexadecimal. */
  sha256: string;
  /** `packages` of package-lock.json, by path. */
  locked: Readonly<Record<string, Locked>>;
  /** Of which the image has files. */
  debian: readonly DebianPackage[];
}

interface Component {
  type: "application" | "library" | "platform";
  "bom-ref": string;
  name: string;
  version: string;
  purl?: string;
  licenses?: { expression: string }[];
  hashes?: { alg: "SHA-256" | "SHA-512"; content: string }[];
}

/** The document as JSON. */
export function sbom({ build, sha256, locked, debian }: Materials): string {
  const pcnk: Component = {
    type: "application",
    "bom-ref": "pcnk",
    name: "pcnk",
    version: build.version,
    licenses: [{ expression: "Apache-2.0" }],
    hashes: [{ alg: "SHA-256", content: sha256 }],
  };
  const components = [
    ...runtimeOf(build),
    ...npmComponents(locked),
    debianComponent({ name: "libbpf-dev", version: build.libbpf, architecture: "" }),
    ...debian.map(debianComponent),
  ];
  return JSON.stringify(
    {
      bomFormat: "CycloneDX",
      specVersion: "1.5",
      version: 1,
      metadata: {
        component: pcnk,
        properties: [{ name: "pcnk:commit", value: build.commit }],
      },
      components,
      dependencies: [{ ref: "pcnk", dependsOn: components.map((one) => one["bom-ref"]) }],
    },
    null,
    2,
  ) + "\n";
}

/** Deno's runtime, in front of the program, and its V8. */
function runtimeOf({ deno, v8, runtime }: Materials["build"]): Component[] {
  const known = /^[0-9a-f]{64}$/.test(runtime);
  return [
    {
      type: "platform",
      "bom-ref": "deno",
      name: "deno",
      version: deno,
      purl: `pkg:github/denoland/deno@v${deno}`,
      licenses: [{ expression: "MIT" }],
      hashes: known ? [{ alg: "SHA-256", content: runtime }] : undefined,
    },
    { type: "library", "bom-ref": "v8", name: "v8", version: v8 },
  ];
}

/** What may be in the bundle; tools of the build are not. */
function npmComponents(locked: Materials["locked"]): Component[] {
  return Object.entries(locked).flatMap(([path, one]): Component[] => {
    const { version, license, integrity, dev, optional } = one;
    const name = path.split("node_modules/").at(-1)!;
    if (path === "" || dev || optional || version === undefined) return [];
    const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
    return [{
      type: "library",
      "bom-ref": purl,
      name,
      version,
      purl,
      licenses: license === undefined ? undefined : [{ expression: license }],
      hashes: integrity === undefined ? undefined : [hashOf(integrity)],
    }];
  });
}

function hashOf(integrity: string) {
  const bytes = Uint8Array.fromBase64(integrity.replace(/^sha512-/, ""));
  return { alg: "SHA-512" as const, content: bytes.toHex() };
}

function debianComponent({ name, version, architecture }: DebianPackage): Component {
  const purl = `pkg:deb/debian/${name}@${encodeURIComponent(version)}` +
    (architecture === "" ? "" : `?arch=${architecture}`);
  return { type: "library", "bom-ref": purl, name, version, purl };
}
