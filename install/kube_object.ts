/** Objects of Kubernetes, as the manifest has them. */
import { NAME } from "./pods.ts";

/** An object of Kubernetes. */
export type KubeObject = { apiVersion: string; kind: string } & Record<string, unknown>;

export const LABELS = { "app.kubernetes.io/name": NAME };

/** @param namespace undefined: of the cluster */
export function object(
  apiVersion: string,
  kind: string,
  namespace: string | undefined,
  rest: Record<string, unknown>,
  name = NAME,
): KubeObject {
  return { apiVersion, kind, metadata: { name, namespace, labels: LABELS }, ...rest };
}
