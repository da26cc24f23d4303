/** Whether a Pod is exempt from the check of its source addresses, by its annotation. */
import type { Access } from "./access.ts";
import { ApiClient, ApiError } from "./client.ts";

/** `namespace/name`, as the API has them (RFC 1123). */
const NAME = /^([a-z0-9][a-z0-9-]{0,62})\/([a-z0-9][a-z0-9.-]{0,252})$/;

/** Milliseconds without a byte after which the server counts as gone. */
const silenceMs = 10_000;

/**
 * Reads the annotation `pcnk.io/source-check` of the Pod `namespace/name`; false: it has none, or is no object of the API, as
 * a static Pod in its first moments.
 * @throws {ApiError | AccessError}
 */
export async function isSourceCheckOff(
  access: Access,
  pod: string,
  signal: AbortSignal,
): Promise<boolean> {
  const [, namespace, name] = NAME.exec(pod) ?? [];
  if (namespace === undefined) return false;
  const client = new ApiClient(access);
  try {
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    const { metadata } = await client.json(path, { signal, silenceMs }) as PodObject;
    return metadata?.annotations?.["pcnk.io/source-check"] === "off";
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false;
    throw error;
  } finally {
    client.close();
  }
}

/** The part of a core/v1 Pod that is read here. */
interface PodObject {
  metadata?: { annotations?: Record<string, string> };
}
