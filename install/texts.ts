/** The files that an installation writes. */
import { settingValue } from "./set_options.ts";

export const CONFIG_PATH = "/etc/pcnk/config.yaml";
export const SYSCTL_PATH = "/etc/sysctl.d/90-pcnk.conf";
export const UNIT = "pcnk.service";
export const UNIT_PATH = `/etc/systemd/system/${UNIT}`;

export const MARK = "# Written by pcnk install; pcnk uninstall removes it.\n";

/** The agent sets it, too; this is for the time from boot until an agent runs. */
export const SYSCTL_TEXT = `${MARK}net.ipv4.ip_forward = 1\n`;

/**
 * The agent as a service. No option that makes a mount namespace (Protect…, Private…, ReadOnlyPaths): a bpffs that it mounts must be the
 * machine's and stay after it. The capabilities are those that its system calls need by their manual pages.
 */
export function unitText(executable: string): string {
  return `${MARK}[Unit]
Description=pcnk, the Kubernetes network of this node
Documentation=file:///usr/share/doc/pcnk https://www.cni.dev/docs/spec/
Wants=network-online.target
After=network-online.target
# Restart it however often it ends, e.g. while its kubeconfig is not there yet.
StartLimitIntervalSec=0

[Service]
ExecStart=${executable} agent --config ${CONFIG_PATH}
# Packets and CNI calls do not need it.
Restart=always
RestartSec=1
# Before Linux 5.11 maps count as locked memory.
LimitMEMLOCK=infinity
UMask=0077
CapabilityBoundingSet=${CAPABILITIES.join(" ")}
NoNewPrivileges=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET

[Install]
WantedBy=multi-user.target
`;
}

/** SYS_ADMIN: bpffs mounts, and eBPF before Linux 5.8; DAC_OVERRIDE: files of other owners, such as a kubeconfig. */
export const CAPABILITIES = [
  "CAP_BPF",
  "CAP_PERFMON",
  "CAP_NET_ADMIN",
  "CAP_NET_RAW",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_ADMIN",
  "CAP_SYS_RESOURCE",
  "CAP_DAC_OVERRIDE",
];

/** A file that keeps a network manager from changing pcnk's devices. */
interface DeviceFile {
  path: string;
  text: string;
  /** Written only where this directory is. */
  needs: string;
  why: string;
}

/** Network managers remove addresses and routes from devices that they do not know. */
export function deviceFiles(settings: ReadonlyMap<string, string>): DeviceFile[] {
  const names = ["bridge", "overlay.device"].map((key) => settingValue(settings, key));
  return [
    {
      path: "/etc/systemd/network/10-pcnk.network",
      needs: "/etc/systemd/network",
      text: `${MARK}[Match]\nName=${names.join(" ")}\n\n[Link]\nUnmanaged=yes\n`,
      why: "systemd-networkd keeps away from pcnk's devices",
    },
    {
      path: "/etc/NetworkManager/conf.d/90-pcnk.conf",
      needs: "/etc/NetworkManager/conf.d",
      text: `${MARK}[keyfile]\nunmanaged-devices+=${
        names.map((name) => `interface-name:${name}`).join(";")
      }\n`,
      why: "NetworkManager keeps away from pcnk's devices",
    },
  ];
}
