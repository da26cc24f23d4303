import assert from "node:assert/strict";
import { dataPlaneReady, linkPin, listLinkPins, listPins, mapPin, programPin } from "./pins.ts";
import { TempFolder } from "../../tests/support/folder.ts";

Deno.test("pins have their places below the bpffs", () => {
  assert.equal(mapPin("/b", "services"), "/b/map/services");
  assert.equal(programPin("/b", "lbrp_to_pod"), "/b/prog/lbrp_to_pod");
  assert.equal(linkPin("/b", 7, "egress"), "/b/link/7-egress");
});

Deno.test("listLinkPins() reads what linkPin() wrote and nothing else", () => {
  using temporary = new TempFolder();
  const folder = temporary.path;
  assert.deepEqual(listLinkPins(folder), []);
  Deno.mkdirSync(`${folder}/link`);
  for (const name of ["7-ingress", "12-egress", "x-ingress", "7-ingress~new", "7"]) {
    Deno.writeTextFileSync(`${folder}/link/${name}`, "");
  }
  const found = listLinkPins(folder).sort((a, b) => a.ifindex - b.ifindex);
  assert.deepEqual(found, [
    { path: `${folder}/link/7-ingress`, ifindex: 7, direction: "ingress" },
    { path: `${folder}/link/12-egress`, ifindex: 12, direction: "egress" },
  ]);
  assert.equal(listPins(`${folder}/link`).length, 5);
});

Deno.test("dataPlaneReady() is false where nothing is", () => {
  assert.equal(dataPlaneReady("/none"), false);
});
