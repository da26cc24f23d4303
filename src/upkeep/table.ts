/**
 * Every object that pcnk makes or needs on a node: how it is watched, what is wrong with it, and how it is mended.
 *
 * The agent checks the rows and mends what it can (agent/upkeep/); `pcnk status` checks them with or without an agent. The
 * order is that of mending: what others stand on comes first. docs/repair.md has the table with figures.
 */
import { leaseFaults, strayFaults } from "./addresses.ts";
import { bridgeFaults } from "./bridge.ts";
import { chainFaults, conflistFaults, diskFaults, pluginFaults } from "./cni.ts";
import type { Row } from "./fault.ts";
import { hostPortFaults, rateFaults } from "./host_ports.ts";
import {
  loopbackFaults,
  routeFaults,
  routesFingerprint,
  sysctlFaults,
  uplinkFaults,
} from "./kernel.ts";
import { outsideFaults, pathFaults } from "./paths.ts";
import { hostlbFaults, pinFaults } from "./pins.ts";
import {
  endpointFaults,
  leftoverFaults,
  podProgramFaults,
  portFaults,
  segmentFaults,
  uplinkProgramFaults,
} from "./pods.ts";
import { recordFaults } from "./records.ts";

/** Pins come first: without them no other row can be mended. */
export const TABLE: readonly Row[] = [
  { name: "pins", part: "data plane", watch: "second", check: pinFaults },
  { name: "disk", part: "cni", watch: "second", check: diskFaults },
  { name: "records", part: "pods", watch: "second", locked: true, check: recordFaults },
  { name: "bridge", part: "pods", watch: "devices", locked: true, check: bridgeFaults },
  { name: "ports", part: "pods", watch: "devices", locked: true, check: portFaults },
  {
    name: "pod programs",
    part: "pods",
    watch: "devices",
    locked: true,
    pinned: true,
    check: podProgramFaults,
  },
  { name: "uplinks", part: "uplink", watch: "devices", graceMs: 2500, check: uplinkFaults },
  {
    name: "uplink programs",
    part: "uplink",
    watch: "devices",
    pinned: true,
    check: uplinkProgramFaults,
  },
  { name: "endpoints", part: "pods", watch: "second", locked: true, check: endpointFaults },
  {
    name: "leftovers",
    part: "pods",
    watch: "second",
    locked: true,
    pinned: true,
    check: leftoverFaults,
  },
  { name: "host ports", part: "pods", watch: "second", locked: true, check: hostPortFaults },
  { name: "limits", part: "pods", watch: "devices", locked: true, check: rateFaults },
  { name: "segment", part: "pods", watch: "second", locked: true, check: segmentFaults },
  { name: "hostlb", part: "host services", watch: "second", pinned: true, check: hostlbFaults },
  { name: "loopback", part: "host services", watch: "devices", check: loopbackFaults },
  { name: "sysctls", part: "uplink", watch: "second", check: sysctlFaults },
  {
    name: "routes",
    part: "uplink",
    watch: "devices",
    graceMs: 2500,
    fingerprint: routesFingerprint,
    check: routeFaults,
  },
  { name: "paths", part: "uplink", watch: "devices", graceMs: 2500, check: pathFaults },
  { name: "way out", part: "uplink", watch: "devices", graceMs: 2500, check: outsideFaults },
  { name: "addresses", part: "pods", watch: "second", locked: true, check: leaseFaults },
  { name: "stray pods", part: "pods", watch: "devices", graceMs: 3000, check: strayFaults },
  { name: "configuration", part: "cni", watch: "second", graceMs: 2500, check: conflistFaults },
  { name: "order of plugins", part: "cni", watch: "second", check: chainFaults },
  { name: "plugins", part: "cni", watch: "second", check: pluginFaults },
];
