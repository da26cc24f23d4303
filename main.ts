/**
 * pcnk: one executable, several roles. This file tells them apart and nothing else; every role is a lazy import, so
 * that a CNI call does not pay for the command line.
 *
 * The container runtime says which verb it wants through CNI_COMMAND (CNI SPEC 1.1, section 2); everything else is the
 * command line.
 *
 * Deno's own names here and in cni/, not Node's: loading a node: module costs every CNI call a millisecond or two.
 */
function verb(): string | undefined {
  try {
    return Deno.env.get("CNI_COMMAND");
  } catch {
    return "not UTF-8";
  }
}

// exit() at once: V8's own farewell takes another millisecond, and everything has been written synchronously.
switch (verb()) {
  case undefined: {
    const { runCli } = await import("./src/cli/main.ts");
    Deno.exitCode = await runCli(Deno.args);
    break;
  }
  case "VERSION": {
    const { runVersion } = await import("./cni/version.ts");
    Deno.exit(runVersion());
    break;
  }
  default: {
    const { runCni } = await import("./cni/main.ts");
    Deno.exit(runCni());
  }
}
