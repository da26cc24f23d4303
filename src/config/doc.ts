/**
 * docs/settings.md from the tables of settings: `deno run -A src/config/doc.ts` writes it, and a test of the gate compares.
 */
import { etcdKey, nodeSettings } from "../model/node_settings.ts";
import { settings } from "./schema.ts";
import { fallbackText, flagName, type Setting } from "./setting.ts";

/** The page, whole. */
export function settingsPage(): string {
  return `${head}
## Settings of the agent

| key | flag | default | live | where | what it is |
|---|---|---|---|---|---|
${settings.filter(({ noEffect }) => noEffect === undefined).map(row).join("\n")}

*Live* settings take effect within seconds of a change of the configuration file (a mounted
ConfigMap too), in the running agent, without a lost packet.
Changes of other settings are logged, and take effect when the agent restarts.
A file with an error is logged and changes nothing.

*Where*: \`cluster\` must be the same on all nodes; \`node\` may differ from node to node.

## Polycube's keys

A ConfigMap of pcn-k8s or polykube works unchanged: pcnk accepts all its keys.

| key | here |
|---|---|
${polycube.map(([key, text]) => `| \`${key}\` | ${text} |`).join("\n")}

${perNode}`;
}

function row(setting: Setting): string {
  const { key, kind, help, live, clusterWide } = setting;
  const cells = [
    `\`${key}\``,
    `\`${flagName(key)} ${escape(kind.placeholder)}\``,
    escape(fallbackText(setting)),
    live ? "yes" : "",
    clusterWide ? "cluster" : "node",
    escape(help),
  ];
  return `| ${cells.join(" | ")} |`;
}

function escape(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}

const noEffect = (key: string) =>
  `accepted and checked, without effect: ${
    settings.find((one) => one.key === key)?.noEffect
  }. The agent logs that at its start`;

const polycube: [string, string][] = [
  [
    "mtu",
    "MTU of pods, as there; if omitted, it is derived from the uplink's",
  ],
  [
    "serviceNodePortRange",
    "the agent refuses to start when \`snatPorts\` overlaps it, so that no masqueraded connection takes a NodePort",
  ],
  ["serviceClusterIPRange", noEffect("serviceClusterIPRange")],
  ["vtepsRange", noEffect("vtepsRange")],
  [
    "etcd_url",
    "where per-node settings are read, see below; one or more URLs, separated by commas",
  ],
];

const head =
  `<!-- Generated from src/config/schema.ts and src/model/node_settings.ts by \`deno run -A src/config/doc.ts\`. -->
# Settings

Flags take precedence over the YAML file of \`--config\`, the file over defaults.
A dot in a key is a level of the YAML file:

\`\`\`yaml
uplink: eth1
mapSizes:
  services: 20000
timeouts: { udp: 3m }
\`\`\`

Times are seconds, or like \`90s\`, \`5m\`, \`1h30m\`.
An unknown key or a bad value is an error that names file, line and key.
`;

const perNode = `## Settings of one node

They can be changed at any time, and all agents apply them at once.
By default they are annotations of the Node object; with \`etcd_url\` also keys in etcd, the same ones
as pcn-k8s had.

| setting | annotation | key in etcd | value | what it is |
|---|---|---|---|---|
${
  nodeSettings.map(({ name, annotation, values, help }) =>
    `| \`${name}\` | \`${annotation}\` | \`${
      etcdKey("NODE", name).replace("NODE", "&lt;node&gt;")
    }\` | ${values} | ${help} |`
  ).join("\n").replaceAll("&lt;", "<").replaceAll("&gt;", ">")
}

\`\`\`sh
pcnk node get                                        # all nodes, from the Kubernetes API
pcnk node set worker1 directRouting=true
pcnk node set worker1 publicIP=                      # removes it
pcnk node get worker1 --etcd-url http://127.0.0.1:30901 -o yaml
etcdctl put /nodes/worker1/directRouting true        # the same as pcnk node set --etcd-url …
\`\`\`

- A value in etcd takes precedence over the annotation.
- A bad value is logged and ignored: the last good one of that source stays.
- While etcd is unreachable, its last values stay, also over a restart of the agent
  (\`<stateDir>/node-settings.json\`); an agent that never reached it uses the annotations.
  \`/healthz\` and the log report it, and recovery needs no action.
- The agent needs read access only: \`etcdctl role grant-permission pcnk read --prefix=true /nodes/\`.
  It logs in by name and password (\`etcd.username\`, \`etcd.passwordFile\`); \`etcd.cert\` and \`etcd.key\`
  are a client certificate for the connection.
  With both, the certificate must not have a common name (subject \`/O=pcnk\`): etcd's JSON gateway
  refuses others.
- To try it: \`kubectl apply -f install/standalone-etcd.yaml\` runs one etcd without authentication on
  port 30901 of the control plane node.
`;

/** The page's place in the tree. */
export const settingsPath = new URL("../../docs/settings.md", import.meta.url).pathname;

if (import.meta.main) Deno.writeTextFileSync(settingsPath, settingsPage());
