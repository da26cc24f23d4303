/** When a session is over: what bpf/lib/config.h says. */
import { PROTO } from "../abi/enums.ts";

/** Timeouts of `struct node_config`, in nanoseconds. */
interface SessionTimeouts {
  readonly tcp_new_timeout: bigint;
  readonly tcp_established_timeout: bigint;
  readonly tcp_closing_timeout: bigint;
  readonly tcp_closed_timeout: bigint;
  readonly udp_timeout: bigint;
  readonly icmp_timeout: bigint;
}

/** Nanoseconds after which a session is over if idle; 0: not known here. @param state SESSION_STATE */
function timeoutOf(config: SessionTimeouts, proto: number, state: number): bigint {
  if (proto === PROTO.UDP) return config.udp_timeout;
  if (proto !== PROTO.TCP) return config.icmp_timeout;
  const { tcp_new_timeout, tcp_established_timeout, tcp_closing_timeout, tcp_closed_timeout } =
    config;
  return [tcp_new_timeout, tcp_established_timeout, tcp_closing_timeout][state] ??
    tcp_closed_timeout;
}

/** @param idle nanoseconds since its last packet; negative: it was seen after the clock was read */
export function isOver(
  config: SessionTimeouts,
  proto: number,
  state: number,
  idle: bigint,
): boolean {
  const timeout = timeoutOf(config, proto, state);
  return timeout > 0n && idle > timeout;
}
