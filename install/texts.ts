/** The files that an installation writes. */
import { settingValue } from "./set_options.ts";

export const CONFIG_PATH = "/etc/pcnk/config.yaml";
export const SYSCTL_PATH = "/etc/sysctl.d/90-pcnk.conf";
export const UNIT = "pcnk.service";
export const UNIT_PATH = `/etc/systemd/system/${UNIT}`;

export const MARK = "# Written by pcnk install; pcnk uninstall removes it.\n";

/** The agent sets what it needs while it runs; this holds from the boot on, before there is an agent. */
export const SYSCTL_TEXT = `${MARK}net.ipv4.ip_forward = 1\n`;

/**
 * The agent as a service. Nothing here gives it a mount namespace (Protect…, Private…, ReadOnlyPaths): a bpffs that it mounts has to be
 * the machine's, and outlive it. The capabilities are what its system calls ask for by their manual pages.
 */
export function unitText(executable: string): string {
  return `${MARK}[Unit]
Description=pcnk, the Kubernetes network of this node
Documentation=file:///usr/share/doc/pcnk https://www.cni.dev/docs/spec/
Wants=network-online.target
After=network-online.target
# However often it ends, e.g. because its kubeconfig is not there yet, it is tried again.
StartLimitIntervalSec=0

[Service]
ExecStart=${executable} agent --config ${CONFIG_PATH}
# Packets and CNI calls go on without it.
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

/** A file that keeps somebody away from pcnk's devices. */
interface DeviceFile {
  path: string;
  text: string;
  /** Written only where this directory is. */
  needs: string;
  why: string;
}

/** Network managers take addresses and routes off devices that they do not know. */
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
