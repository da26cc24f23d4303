/** Names as the `names` map has them, taken apart, and numbers as people call them. */

/** A Service's port. */
export interface PortName {
  namespace: string;
  /** The Service's name. */
  service: string;
  /** The Service's port; 0: unknown. */
  port: number;
  /** TCP, UDP or a number. */
  protocol: string;
}

/** Takes `default/web:80/TCP` apart; of what has no name, `#7`, that stands for the Service. */
export function parsePortName(text: string): PortName {
  const [, namespace, service, port, protocol] =
    /^([^/:]+)\/([^/:]+)(?::(\d+)\/(\w+))?$/.exec(text) ?? [];
  return {
    namespace: namespace ?? "",
    service: service ?? text,
    port: Number(port ?? 0),
    protocol: protocol ?? "",
  };
}

/** `80/TCP` */
export function formatPort({ port, protocol }: Pick<PortName, "port" | "protocol">): string {
  return port === 0 ? `?/${protocol}` : `${port}/${protocol}`;
}

const PROTOCOLS: Readonly<Record<number, string>> = { 1: "ICMP", 6: "TCP", 17: "UDP", 132: "SCTP" };

/** The name of an IP protocol (IANA's registry); its number when it has none here. */
export function protocolName(number: number): string {
  return PROTOCOLS[number] ?? String(number);
}
