import assert from "node:assert/strict";
import { sbom } from "./sbom.ts";

const lock = JSON.parse(Deno.readTextFileSync(new URL("../package-lock.json", import.meta.url)));
const build = {
  version: "0.1.0",
  commit: "c0ffee",
  deno: "2.6.10",
  v8: "14.5",
  runtime: "ab".repeat(32),
  libbpf: "1:1.1.2-0+deb12u1",
};
const debian = [{ name: "libc6", version: "2.36-9+deb12u9", architecture: "amd64" }];
const text = sbom({ build, sha256: "cd".repeat(32), locked: lock.packages, debian });
const document = JSON.parse(text);

interface Component {
  name: string;
  version: string;
  purl?: string;
  hashes?: { alg: string; content: string }[];
}
const components: Component[] = document.components;

Deno.test("sbom() is a CycloneDX document that names each component once", () => {
  assert.deepEqual([document.bomFormat, document.specVersion], ["CycloneDX", "1.5"]);
  const refs = document.components.map((one: { "bom-ref": string }) => one["bom-ref"]);
  assert.equal(new Set(refs).size, refs.length);
  assert.deepEqual(document.dependencies, [{ ref: "pcnk", dependsOn: refs }]);
  assert.equal(document.metadata.component.hashes[0].content, "cd".repeat(32));
});

Deno.test("sbom() has every package that the program depends on, with version and hash", () => {
  const { dependencies, devDependencies } = lock.packages[""];
  for (const [name, version] of Object.entries(dependencies)) {
    const found = components.find((one) => one.name === name);
    assert.equal(found?.version, version, name);
    assert.match(found!.hashes![0]!.content, /^[0-9a-f]{128}$/, name);
  }
  for (const name of Object.keys(devDependencies)) {
    assert.equal(components.some((one) => one.name === name), false, name);
  }
  assert(components.length > 50, `${components.length}`);
});

Deno.test("sbom() writes package URLs as their specification says", () => {
  const purls = components.map(({ purl }) => purl);
  assert(purls.some((one) => one?.startsWith("pkg:npm/%40smithy/core@")));
  assert(purls.includes("pkg:deb/debian/libc6@2.36-9%2Bdeb12u9?arch=amd64"));
  assert(purls.includes("pkg:deb/debian/libbpf-dev@1%3A1.1.2-0%2Bdeb12u1"));
});
