/** The machine outside of the cluster: where it runs, and its server. */
import { isAlive } from "./process.ts";
import { launchServer } from "./server.ts";
import type { Place } from "./spawn.ts";
import type { LabStore } from "./state.ts";

/** Where processes of the machine outside run. */
export function outsidePlace(store: LabStore): Place {
  const { netnsPath, cgroup } = store.plan.outside;
  return { netnsPath, cgroup: store.cgroup(cgroup) };
}

/** Starts its server and waits until it listens. */
export async function startOutside(store: LabStore, signal?: AbortSignal): Promise<void> {
  const { name, log } = store.plan.outside;
  const place = outsidePlace(store);
  if (place.cgroup !== null) Deno.mkdirSync(place.cgroup, { recursive: true });
  await launchServer({
    name,
    place,
    log,
    command: store.state.command,
    started: (server) => store.update((state) => state.outside = server),
  }, signal);
}

/** The pid of its server; undefined when it does not run. */
export function outsideServer({ state: { outside } }: LabStore): number | undefined {
  return outside && isAlive(outside) ? outside.pid : undefined;
}
