/** `pcnk node get|set`: settings of nodes, in annotations or in etcd. */
import { Command, Option } from "@commander-js/extra-typings";
import { join } from "node:path";
import process from "node:process";
import { stringify } from "yaml";
import type { EtcdAccess } from "../cluster/etcd/client.ts";
import { loadKubeconfig } from "../cluster/kube/kubeconfig.ts";
import {
  AnnotationStore,
  EtcdStore,
  type NodeStore,
  type SettingChanges,
} from "../cluster/node_store.ts";
import { nearest } from "../model/nearest.ts";
import { settings } from "../config/schema.ts";
import { flagName } from "../config/setting.ts";
import { type NodeSettings, nodeSettings } from "../model/node_settings.ts";
import { columns } from "../view/terminal.ts";
import { checked, UsageError } from "./usage.ts";
import { outputOption } from "./options.ts";

/** Options of the place of the settings. */
interface Where {
  kubeconfig?: string;
  etcdUrl?: string[];
  etcdCa?: string;
  etcdCert?: string;
  etcdKey?: string;
  etcdUsername?: string;
  etcdPasswordFile?: string;
}

/** Milliseconds for the whole command. */
const limitMs = 30_000;

/** The `node` subcommand. */
export function command() {
  return new Command("node")
    .description("Show or set settings of nodes, in annotations of Node objects or in etcd.")
    .addCommand(getCommand())
    .addCommand(setCommand())
    .addHelpText("after", `\n${table}${examples}`);
}

const table = `Settings:
${
  nodeSettings.map(({ name, values, help }) => `  ${name.padEnd(14)} ${values}: ${help}`).join("\n")
}
`;

function getCommand() {
  const command = new Command("get")
    .description("Show settings of nodes.")
    .argument("[nodes...]", "Only these nodes")
    .addOption(outputOption(["table", "json", "yaml"]));
  return placed(command).addHelpText("after", examples).action(async (names, options) => {
    using store = openStore(options as Where);
    const found = await store.read(AbortSignal.timeout(limitMs));
    const missing = names.find((name) => !found.has(name));
    if (missing !== undefined) throw new Error(`node ${missing}: ${notThere(options as Where)}`);
    const shown = [...found].filter(([name]) => names.length === 0 || names.includes(name)).sort();
    console.log(format(shown, options.output).trimEnd());
  });
}

function setCommand() {
  const command = new Command("set")
    .description("Set settings of a node; all agents apply them at once.")
    .argument("<node>", "Name of the node", checked(nodeName))
    .argument(
      "<settings...>",
      "NAME=VALUE, e.g. directRouting=true; NAME= removes the setting",
    );
  return placed(command).addHelpText("after", `\n${table}${examples}`).action(
    async (node, given, options) => {
      const changes = readChanges(given);
      using store = openStore(options as Where);
      await store.write(node, changes, AbortSignal.timeout(limitMs));
      for (const [name, value] of Object.entries(changes)) {
        console.log(`${node}: ${name} ${value === undefined ? "taken away" : `is ${value}`}`);
      }
    },
  );
}

const examples = `
Examples:
  pcnk node get
  pcnk node set worker1 directRouting=true publicIP=198.51.100.7
  pcnk node set worker1 publicIP=
  pcnk node get -o yaml --etcd-url http://127.0.0.1:30901
`;

/** Adds the options that say where settings are kept; etcd's are those of the agent. */
// deno-lint-ignore no-explicit-any -- commander's types of both commands are kept
function placed<C extends Command<any, any, any>>(command: C): C {
  command.option(
    "--kubeconfig <FILE>",
    "Kubeconfig of the API server (default: KUBECONFIG, or ~/.kube/config)",
  );
  for (const { key, kind, help } of settings) {
    if (!key.startsWith("etcd")) continue;
    const option = new Option(`${flagName(key)} <${kind.placeholder}>`, help);
    command.addOption(option.argParser(checked((text: string) => {
      try {
        return kind.parse(text);
      } catch (error) {
        throw new Error(`It ${(error as Error).message}`);
      }
    })));
  }
  return command;
}

function openStore(where: Where): NodeStore {
  const { kubeconfig, etcdUrl, etcdCa, etcdCert, etcdKey, etcdUsername, etcdPasswordFile } = where;
  if (etcdUrl === undefined) {
    if (etcdCa ?? etcdCert ?? etcdKey ?? etcdUsername ?? etcdPasswordFile) {
      throw new UsageError("options of etcd need --etcd-url");
    }
    return new AnnotationStore(loadKubeconfig(kubeconfig ?? defaultKubeconfig()));
  }
  if (kubeconfig !== undefined) throw new UsageError("give either --kubeconfig or --etcd-url");
  const access: EtcdAccess = {
    endpoints: etcdUrl,
    ca: etcdCa,
    cert: etcdCert,
    key: etcdKey,
    username: etcdUsername,
    passwordFile: etcdPasswordFile,
  };
  return new EtcdStore(access);
}

function defaultKubeconfig(): string {
  const { KUBECONFIG, HOME = "/root" } = process.env;
  return KUBECONFIG || join(HOME, ".kube/config");
}

function notThere({ etcdUrl }: Where): string {
  return etcdUrl === undefined
    ? "there is no such node; pcnk node get lists all"
    : "etcd has no settings of it; pcnk node get lists those that have some";
}

function nodeName(text: string): string {
  try {
    return settings.find(({ key }) => key === "nodeName")!.kind.parse(text) as string;
  } catch (error) {
    throw new Error(`It ${(error as Error).message}`);
  }
}

/** `name=value` words, checked. @throws {UsageError} */
function readChanges(words: readonly string[]): SettingChanges {
  const changes: SettingChanges = {};
  for (const word of words) {
    const at = word.indexOf("=");
    const name = at < 0 ? word : word.slice(0, at), value = word.slice(at + 1);
    const known = nodeSettings.find((one) => one.name === name);
    if (known === undefined) {
      const names = nodeSettings.map((one) => one.name);
      const meant = nearest(name, names);
      throw new UsageError(
        `unknown setting ${JSON.stringify(name)}; ${
          meant ? `did you mean ${meant}?` : `known are ${names.join(", ")}`
        }`,
      );
    }
    if (at < 0) throw new UsageError(`${name}: write ${name}=VALUE, or ${name}= to remove it`);
    const problem = value === "" ? undefined : known.problem(value);
    if (problem !== undefined) {
      throw new UsageError(`${name} ${problem}, not ${JSON.stringify(value)}`);
    }
    changes[known.name] = value === "" ? undefined : value;
  }
  return changes;
}

function format(nodes: readonly (readonly [string, NodeSettings])[], output: string): string {
  const items = nodes.map(([name, given]) => ({ name, ...given }));
  if (output === "json") return JSON.stringify({ items }, null, 2);
  if (output === "yaml") return stringify({ items });
  const heads = ["NODE", "DIRECT-ROUTING", "VPC-MODE", "PUBLIC-IP"];
  const rows = nodes.map((
    [name, given],
  ) => [name, ...nodeSettings.map((one) => cell(given[one.name], one.problem))]);
  return columns([heads, ...rows]).join("\n");
}

/** A value that the agents ignore is marked. */
function cell(value: string | undefined, problem: (value: string) => string | undefined): string {
  if (value === undefined || value === "") return "-";
  return problem(value) === undefined ? value : `${JSON.stringify(value)} (bad)`;
}
