/**
 * pcnk: one executable, several roles. This file tells them apart and nothing else; every role is a lazy import, so
 * that a CNI call does not pay for the command line.
 *
 * The container runtime says which verb it wants through CNI_COMMAND (CNI SPEC 1.1, section 2); everything else is the
 * command line.
 */
import process from "node:process";

if (process.env.CNI_COMMAND !== undefined) {
  const { runCni } = await import("./cni/main.ts");
  process.exitCode = await runCni();
} else {
  const { runCli } = await import("./src/cli/main.ts");
  process.exitCode = await runCli(process.argv.slice(2));
}
