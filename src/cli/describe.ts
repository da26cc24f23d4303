/** `pcnk describe service`: compares the cluster's objects with this node's maps. `pcnk describe pod`: a pod of this node. */
import { Argument, Command } from "@commander-js/extra-typings";
import process from "node:process";
import { chooseSource, openSource, type SourceChoice } from "../agent/sources/object_source.ts";
import { createLog } from "../agent/log.ts";
import { labelledPods } from "../cluster/kube/labelled_pods.ts";
import { loadConfig } from "../config/load.ts";
import type { AgentConfig } from "../config/schema.ts";
import { within } from "../lab/wait.ts";
import { nearest } from "../model/nearest.ts";
import type { Service } from "../model/objects.ts";
import { applyChange, type ClusterState, emptyState } from "../model/state.ts";
import { readState, type StateFiles } from "../node/state_files.ts";
import { describePod, type PodDescription } from "../view/describe_pod.ts";
import { describeService, type Description, isSame, type Origin } from "../view/describe.ts";
import { selectPods } from "../view/selected.ts";
import { NodeReader } from "../view/node.ts";
import { columns, conclusion, type Paint, streamLook, terminalWidth } from "../view/terminal.ts";
import { exitCodes } from "./exit_codes.ts";
import { outputOption, placeOption, requireRoot } from "./options.ts";
import { UsageError } from "./usage.ts";

/** Milliseconds to wait for the API server. */
const patienceMs = 20_000;

/** The `describe` subcommand. */
export function command() {
  const command = new Command("describe")
    .description(
      "Compare a Service and its endpoints in the cluster with this node's maps, or show a pod of this node. " +
        "Needs root.",
    )
    .addArgument(
      new Argument("<what>", "service, or pod").choices(["service", "svc", "pod", "po"] as const),
    )
    .argument("<name>", "[NAMESPACE/]NAME; namespace default if omitted")
    .option(
      "--config <FILE>",
      "Take source and node name from this agent configuration",
    )
    .option("--kubeconfig <FILE>", "Read objects from the API server of this file")
    .option("--manifests <DIR>", "Read objects from this directory")
    .option("--node-name <NAME>", "Name of this node in the cluster (default: the agent's)")
    .addOption(outputOption(["text", "json"]))
    .addOption(placeOption("bpffs", "PCNK_BPFFS"))
    .addOption(placeOption("stateDir", "PCNK_STATE_DIR"))
    .addHelpText("after", help)
    .action(async (what, name, options) => {
      requireRoot("describe");
      const { bpffs, stateDir, output } = options;
      using node = new NodeReader({ bpffs, stateDir });
      const key = name.includes("/") ? name : `default/${name}`;
      if (what.startsWith("po")) return showPod(node, key, output);
      const { state, nodeName, choice, externalIPs } = await readCluster(options);
      const origin = await originOf(choice, state.services.get(key));
      const found = describeService(node, state, nodeName, key, origin, externalIPs);
      if (found === undefined) {
        const near = nearest(key, [...state.services.keys()]);
        throw new Error(
          `there is no Service ${key}, neither in the cluster nor in the kernel${
            near === undefined
              ? "; pcnk get services lists them. One labelled service.kubernetes.io/service-proxy-name or " +
                "service.kubernetes.io/headless is left to others"
              : `; did you mean ${near}?`
          }`,
        );
      }
      console.log(
        output === "json"
          ? JSON.stringify(found, null, 2)
          : renderDescription(found, streamLook(Deno.stdout).paint, terminalWidth()),
      );
      if (found.findings.some(({ good }) => !good)) process.exitCode = 1;
    });
  return exitCodes(
    command,
    "0 in sync, and clients are served, or the pod is whole; 1 a problem",
  );
}

const help = `
Reads objects from the agent's source. Give --kubeconfig where the agent uses the credentials of its Pod.

Examples:
  pcnk describe service default/web
  pcnk describe service default/web --kubeconfig /etc/kubernetes/admin.conf
  pcnk describe pod default/web-0
`;

/** `pcnk describe pod`. @throws Error when this node has no such pod */
function showPod(node: NodeReader, key: string, output: "text" | "json") {
  const found = describePod(node, key);
  if (found === undefined) {
    const near = nearest(key, [...node.pods.values()].flatMap(({ pod }) => pod ?? []));
    throw new Error(
      `there is no pod ${key} on this node; pcnk get pods lists its pods` +
        (near === undefined ? "" : `; did you mean ${near}?`),
    );
  }
  const look = streamLook(Deno.stdout);
  const text = output === "json"
    ? JSON.stringify(found, null, 2)
    : renderPod(found, look.paint, terminalWidth());
  console.log(text);
  if (found.findings.some(({ good }) => !good)) process.exitCode = 1;
}

/** A section for each interface, the findings last. */
function renderPod({ pod, interfaces, findings }: PodDescription, paint: Paint, width: number) {
  const sections = interfaces.flatMap((one) => [
    ...columns([
      ["Pod:", pod],
      ["Interface:", `${one.ifname}, ${one.mac}, ${one.addresses.join(", ") || "no IPv4 address"}`],
      ["Device:", one.bridge === undefined ? one.device : `${one.device}, port of ${one.bridge}`],
      ["Container:", one.containerID],
      ["hostPorts:", one.hostPorts.join(", ") || "none"],
      ["Rate limits:", one.rates.join(", ") || "none"],
      ["Source check:", one.sourceCheck],
    ], width),
    "",
  ]);
  return [
    ...sections,
    ...findings.flatMap(({ good, text }) => conclusion(text, !good, paint, width)),
  ].join("\n");
}

interface Where {
  stateDir: string;
  config?: string;
  kubeconfig?: string;
  manifests?: string;
  nodeName?: string;
}

/** What `pcnk describe service` concludes. @throws Error with a message for the user */
export async function concludeService(
  where: Where & { bpffs: string },
  key: string,
): Promise<Description["findings"]> {
  const { state, nodeName, choice, externalIPs } = await readCluster(where);
  const origin = await originOf(choice, state.services.get(key));
  using node = new NodeReader(where);
  const found = describeService(node, state, nodeName, key, origin, externalIPs);
  if (found === undefined) throw new Error(`there is no Service ${key} in the cluster`);
  return found.findings;
}

/** The cluster's objects, and by which settings of this node they are served. */
interface ClusterRead extends Pick<AgentConfig, "nodeName" | "externalIPs"> {
  state: ClusterState;
  choice: SourceChoice;
}

/** All objects, once. */
async function readCluster(where: Where): Promise<ClusterRead> {
  const agent: Partial<StateFiles["agent"]> = readState(where.stateDir, "agent") ?? {};
  const given = new Map<string, unknown>();
  const nodeName = where.nodeName ?? (where.config === undefined ? agent.nodeName : undefined);
  if (nodeName !== undefined) given.set("nodeName", nodeName);
  if (where.manifests !== undefined) given.set("manifests", where.manifests);
  else if (where.kubeconfig !== undefined) given.set("kubeconfig", where.kubeconfig);
  else if (where.config === undefined && agent.manifests !== undefined) {
    given.set("manifests", agent.manifests);
  } else if (where.config === undefined && agent.kubeconfig !== undefined) {
    given.set("kubeconfig", agent.kubeconfig);
  }
  if (where.config === undefined && agent.externalIPs !== undefined) {
    given.set("externalIPs", agent.externalIPs);
  }
  const config = loadConfig(where.config, given);
  let choice;
  try {
    choice = chooseSource(config);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const state = emptyState();
  const log = createLog("silent", config.nodeName);
  const source = openSource(
    choice,
    (changes) => changes.forEach((change) => void applyChange(state, change)),
    log,
  );
  try {
    const late = `the cluster's objects could not be read within ${
      patienceMs / 1000
    } s: is the API server there?`;
    await within(patienceMs, late, source.start());
  } finally {
    source.close();
  }
  const { nodeName: name, externalIPs } = config;
  return { state, nodeName: name, choice, externalIPs };
}

/** Asks the API server for the Pods that the selector matches; a failure is no reason to stop. */
async function originOf(choice: SourceChoice, service: Service | undefined): Promise<Origin> {
  if (!("access" in choice)) return choice;
  if (service?.selector === undefined) return { selected: undefined };
  try {
    const signal = AbortSignal.timeout(patienceMs);
    const { pods, more } = await labelledPods(choice.access, service.namespace, signal);
    return { selected: selectPods(service.selector, pods, more) };
  } catch {
    return { selected: undefined };
  }
}

/** Sections of text, the findings last. */
export function renderDescription(
  { service, endpoints, frontends, findings }: Description,
  paint: Paint,
  width = Infinity,
): string {
  const head = [
    ["Service:", `${service.namespace}/${service.name}`],
    ["Type:", service.headless ? "headless" : service.type],
    [
      "Addresses:",
      [...service.clusterIPs, ...service.externalIPs ?? [], ...service.loadBalancerIPs ?? []].join(
        ", ",
      ) || "none",
    ],
    ["Selector:", service.selector ?? "none"],
  ];
  const ends = endpoints.map(({ address, node, pod, state }) => [
    address,
    node ?? "-",
    pod ?? "-",
    paint(state === "ready" ? "green" : "yellow", state),
  ]);
  const list = (backends: string[] | null) =>
    backends === null
      ? "no entry"
      : backends.length === 0
      ? "no backends"
      : `${backends.length}: ${short(backends)}`;
  const rows = frontends.map((one) => [
    one.frontend,
    one.from,
    list(one.wanted),
    isSame(one) ? paint("green", "the same") : paint("red", list(one.held)),
  ]);
  const title = (words: string[]) => words.map((word) => paint("bold", word));
  return [
    ...columns(head, width),
    "",
    ...(ends.length === 0
      ? ["no endpoints"]
      : columns([title(["ENDPOINT", "NODE", "POD", "STATE"]), ...ends])),
    "",
    ...(rows.length === 0
      ? ["no entries in the data plane"]
      : columns([title(["FRONTEND", "FROM", "WANTED", "KERNEL"]), ...rows], width)),
    "",
    ...findings.flatMap(({ good, text }) => conclusion(text, !good, paint, width)),
  ].join("\n");
}

/** Some of them: a Service may have thousands. */
function short(backends: readonly string[]): string {
  return backends.length <= 4 ? backends.join(" ") : `${backends.slice(0, 3).join(" ")} …`;
}
