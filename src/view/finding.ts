/** What `pcnk status` finds. */

/** `note`: worth knowing. `warn`: works, but not as it should. `bad`: does not work. */
export type Health = "ok" | "note" | "warn" | "bad";

/** What was found out about one thing. */
export interface Finding {
  part:
    | "agent"
    | "api"
    | "etcd"
    | "data plane"
    | "pods"
    | "services"
    | "sessions"
    | "shares"
    | "uplink"
    | "netfilter"
    | "peer"
    | "host services"
    | "cni"
    | "maps"
    | "drops";
  health: Health;
  /** One line. */
  text: string;
  /** What to do about it. */
  next?: string;
}
