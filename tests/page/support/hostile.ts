/** Names that are markup, written where only root can: past every check of names. */
import { join } from "node:path";
import { openDataPlane } from "../../../src/bpf/dataplane.ts";
import { NAME_KIND } from "../../../src/bpf/layout.ts";
import type { LabHandle } from "../../../src/lab/lab.ts";

/** A Service and a pod of the first node get such names; returns what gives them back theirs. */
export function hostile(lab: LabHandle): () => void {
  const { bpffs, dir } = lab.store.plan.nodes[0]!;
  using plane = openDataPlane(bpffs);
  const found = plane.maps.names.entries().find(([{ kind }, { text }]) =>
    kind === NAME_KIND.SERVICE_PORT && text.startsWith("default/weighted:")
  );
  const [key, value] = found!;
  plane.maps.names.set(key, { ...value, text: "default/<img src=x onerror=alert(1)>:80/TCP" });
  const folder = join(dir, "attachments");
  const file =
    Array.from(Deno.readDirSync(folder)).find(({ name }) => name.endsWith(".json"))!.name;
  const path = join(folder, file);
  const before = Deno.readTextFileSync(path);
  const pod = "default/<script>alert(2)</script>";
  Deno.writeTextFileSync(path, JSON.stringify({ ...JSON.parse(before), pod }));
  return () => {
    Deno.writeTextFileSync(path, before);
    using again = openDataPlane(bpffs);
    again.maps.names.set(key, value);
  };
}
