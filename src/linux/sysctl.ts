/** Kernel parameters below /proc/sys; those of the network belong to a network namespace. */
import { closeFd, cstring, O, openFile, syscall } from "./libc.ts";
import { withNetns } from "./netns.ts";

const O_WRONLY = 1;

/** Used again: an agent reads some every second. */
const buffer = new Uint8Array(4096);
const decoder = new TextDecoder();

/**
 * The environment variable with a prefix below which /proc/sys/net is writable: a container's own is not. The parameters are
 * those of the process's network namespace, whichever mount of proc they are reached by.
 */
export const SYSCTL_PREFIX_VARIABLE = "PCNK_HOST_PREFIX";

/**
 * The file of a parameter. Dots separate its parts, or slashes where a part has a dot of its own (a device's name), as
 * with sysctl(8): `net.ipv4.ip_forward`, `net/ipv4/conf/eth0.100/rp_filter`.
 */
function sysctlPath(name: string): string {
  const parts = name.split(name.includes("/") ? "/" : ".");
  if (parts.some((part) => part === "" || part === "." || part === "..")) {
    throw new TypeError(`not a kernel parameter: ${JSON.stringify(name)}`);
  }
  return `/proc/sys/${parts.join("/")}`;
}

function inNetns<T>(netnsPath: string | undefined, fn: () => T): T {
  return netnsPath === undefined ? fn() : withNetns(netnsPath, fn);
}

/**
 * Reads a parameter, without the newline at its end.
 * @throws {SyscallError} ENOENT
 */
export function readSysctl(name: string, netnsPath?: string): string {
  const path = sysctlPath(name);
  const length = inNetns(netnsPath, () => {
    const fd = openFile(path, O.RDONLY);
    try {
      return syscall("read", fd, buffer, buffer.length);
    } finally {
      closeFd(fd);
    }
  });
  return decoder.decode(buffer.subarray(0, length)).trimEnd();
}

/**
 * Writes a parameter.
 * @throws {SyscallError} ENOENT; EINVAL when the kernel rejects the value
 */
export function writeSysctl(name: string, value: string, netnsPath?: string): void {
  const path = (Deno.env.get(SYSCTL_PREFIX_VARIABLE) ?? "") + sysctlPath(name);
  const bytes = cstring(value);
  inNetns(netnsPath, () => {
    const fd = openFile(path, O_WRONLY);
    try {
      syscall("write", fd, bytes, bytes.length - 1);
    } finally {
      closeFd(fd);
    }
  });
}
