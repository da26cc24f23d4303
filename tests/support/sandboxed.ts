/** Tests that each get a sandbox and a scene in it. */
import assert from "node:assert/strict";
import { openFds } from "./fds.ts";
import { Sandbox } from "./sandbox.ts";

type Test<S> = (name: string, fn: (scene: S) => void | Promise<void>) => void;

/**
 * What registers tests on scenes that `make` builds; everything is taken away afterwards. With `leaks` a test may leave
 * descriptors open until then; else one that is still open after it is a failure.
 */
export function sandboxed<S>(
  { ignore, leaks = false }: { ignore: boolean; leaks?: boolean },
  make: (sandbox: Sandbox) => S,
): Test<S> {
  return (name, fn) =>
    Deno.test({
      name,
      ignore,
      async fn() {
        using sandbox = new Sandbox();
        const scene = make(sandbox);
        const before = openFds();
        await fn(scene);
        if (!leaks) assert.deepEqual(openFds(), before, "a descriptor leaked");
      },
    });
}
