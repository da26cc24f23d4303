/** The plugin as a process of its own, in a node's namespace, as a runtime starts it. */
import { feed, type PluginOutput } from "../../../src/lab/runtime.ts";
import { pcnk } from "../../support/pcnk.ts";

/** Starts `command` in the network namespace at `netns`, with nothing in its environment but `env`. */
export async function runIn(
  netns: string,
  command: string[],
  env: Record<string, string>,
  stdin: string | Uint8Array<ArrayBuffer>,
): Promise<PluginOutput> {
  const child = new Deno.Command("nsenter", {
    args: [`--net=${netns}`, "--", ...command],
    clearEnv: true,
    env: { PATH: Deno.env.get("PATH") ?? "", HOME: "/root", NO_COLOR: "1", ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return await feed(child, typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin);
}

/** Runs the plugin, behind the words of `wrapper` if any. */
export function runPlugin(
  netns: string,
  env: Record<string, string>,
  stdin: string | Uint8Array<ArrayBuffer>,
  wrapper: string[] = [],
): Promise<PluginOutput> {
  return runIn(netns, [...wrapper, ...pcnk], env, stdin);
}

/** Text of what a process wrote. */
export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
