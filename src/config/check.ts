/** Checks settings against each other. */
import type { AgentConfig } from "./schema.ts";
import { settings } from "./schema.ts";
import { flagName } from "./setting.ts";

/**
 * @throws {Error} when settings contradict each other: which, why, and what to do
 */
export function checkTogether(config: AgentConfig) {
  const { snatPorts: snat, serviceNodePortRange: nodePorts, etcd = {}, etcd_url } = config;
  if (snat.first <= nodePorts.last && nodePorts.first <= snat.last) {
    throw new Error(
      `snatPorts ${snat.first}-${snat.last} overlaps serviceNodePortRange ${nodePorts.first}-${nodePorts.last}: ` +
        "a masqueraded connection would take the port of a Service; give ranges that do not meet",
    );
  }
  if (etcd_url === undefined && Object.keys(etcd).length > 0) {
    throw new Error(`etcd.${Object.keys(etcd)[0]} is given without etcd_url; give both or none`);
  }
  if ((etcd.cert === undefined) !== (etcd.key === undefined)) {
    throw new Error("etcd.cert and etcd.key belong together; give both or none");
  }
  if ((etcd.username === undefined) !== (etcd.passwordFile === undefined)) {
    throw new Error("etcd.username and etcd.passwordFile belong together; give both or none");
  }
  const plain = etcd_url?.find((url) => url.startsWith("http://"));
  const https = etcd_url?.some((url) => url.startsWith("https://"));
  if (plain !== undefined && !https && (etcd.ca ?? etcd.cert) !== undefined) {
    throw new Error(
      `etcd_url ${plain} is not encrypted, but certificates are given; write https://`,
    );
  }
}

/** Logged once at the start: settings that are given without effect, or with less effect than expected. */
export function warnings(config: AgentConfig): string[] {
  const found: string[] = [];
  for (const { key, noEffect } of settings) {
    if (
      noEffect === undefined || (config as unknown as Record<string, unknown>)[key] === undefined
    ) {
      continue;
    }
    found.push(`${key} (${flagName(key)}) has no effect: ${noEffect}; leave it out`);
  }
  const { serviceNodePortRange: { first, last }, overlay: { port } } = config;
  if (port >= first && port <= last) {
    found.push(
      `overlay.port ${port} is in serviceNodePortRange ${first}-${last}: a UDP NodePort of that number would hide the tunnel`,
    );
  }
  if (
    config.etcd?.username !== undefined && config.etcd_url!.some((url) => url.startsWith("http://"))
  ) {
    found.push(
      "the password for etcd goes over an unencrypted connection; write https:// in etcd_url",
    );
  }
  return found;
}
