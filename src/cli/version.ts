/** `pcnk version`: what this executable is made of. */
import { Command } from "@commander-js/extra-typings";
import { type Build, readBuild } from "../bpf/artifacts.ts";

/** As the build wrote it, and the runtime the program finds itself in. */
interface Version extends Build {
  deno: string;
  v8: string;
}

/** Throws when the artefacts are missing: from source, before the first `deno task build`. */
export function readVersion(): Version {
  const { version, commit, runtime, libbpf, objects } = readBuild();
  const { deno, v8 } = Deno.version;
  return { version, commit, deno, v8, runtime, libbpf, objects };
}

/** The lines for a person; hashes and commit cut to twelve digits, as git does. */
function renderVersion(version: Version): string {
  const commit = version.commit.replace(/^([0-9a-f]{12})[0-9a-f]*/, "$1");
  const lines = [
    `pcnk ${version.version} (${commit})`,
    `deno ${version.deno}, v8 ${version.v8}, runtime ${short(version.runtime)}`,
    `libbpf ${version.libbpf}`,
    ...Object.entries(version.objects).map(([name, hash]) => `${name} ${hash.slice(0, 12)}`),
  ];
  return lines.join("\n");
}

/** The first twelve digits of a hash. */
const short = (hash: string) => hash.replace(/^([0-9a-f]{12})[0-9a-f]{52}$/, "$1");

/** The `version` subcommand. */
export function command() {
  return new Command("version")
    .description("Show the versions of pcnk and its parts.")
    .option("--json", "Print JSON")
    .addHelpText("after", "\nExample:\n  pcnk version --json\n")
    .action(({ json }) => {
      const version = readVersion();
      console.log(json ? JSON.stringify(version, null, 2) : renderVersion(version));
    });
}
