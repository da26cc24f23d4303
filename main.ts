/**
 * pcnk: one executable, several roles. This file tells them apart and nothing else; every role is a lazy import, so
 * that a CNI call does not pay for the command line.
 *
 * The container runtime says which verb it wants through CNI_COMMAND (CNI SPEC 1.1, section 2); everything else is the
 * command line.
 *
 * Deno's own names here and in cni/, not Node's: loading a node: module costs every CNI call a millisecond or two.
 */
function isPlugin(): boolean {
  try {
    return Deno.env.has("CNI_COMMAND");
  } catch {
    return true; // it is set, and not UTF-8
  }
}

if (isPlugin()) {
  const { runCni } = await import("./cni/main.ts");
  // exit() at once: V8's own farewell takes another millisecond, and everything has been written synchronously.
  Deno.exit(runCni());
} else {
  const { runCli } = await import("./src/cli/main.ts");
  Deno.exitCode = await runCli(Deno.args);
}
