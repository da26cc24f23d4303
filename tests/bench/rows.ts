/**
 * Every row of docs/benchmarks.md. A group begins with its measure, a series where the measure has several, and the unit of
 * its values. Then a row each: the bar (blank: reported only), the values that the figure is of, or both contenders of a ratio,
 * the title, and what a reader has to know.
 */
import { parseRows } from "./result.ts";

export const ROWS = parseRows(`
start, ms
  ≤ 1.20 | pcnk ÷ hello | CNI VERSION, whole process ÷ bare hello world
cni, ms
  ≤ 1.5 | added ÷ hello | CNI ADD of the chain, with pcnk − without ÷ bare hello world
  | pcnk | pcnk's own process in that ADD
  | chain | the whole chain's ADD with pcnk
rr, µs
  ≤ 1 | pcnk service ÷ plain bridge | TCP request/response p50: service ÷ plain bridge
  ≤ 0.85 | pcnk service ÷ iptables service | the same ÷ iptables service
  | pcnk service ÷ plain bridge without netfilter | the same ÷ plain bridge, bridge netfilter off
  | pcnk, pod to pod ÷ plain bridge | pod to pod with pcnk ÷ plain bridge
bulk, GB/s
  ≥ 1 | pcnk service ÷ plain bridge | TCP throughput: service ÷ plain bridge
  | pcnk service ÷ iptables service | the same ÷ iptables service
connections, 1/s
  ≥ 1.15 | pcnk service ÷ iptables service | new connections: service ÷ iptables
  | pcnk service ÷ plain bridge | new connections: service ÷ plain bridge
udp, µs
  | pcnk service ÷ plain bridge | UDP request/response p50: service ÷ plain bridge
overlay rr, µs
  ≤ 1.02 | pcnk service ÷ pcnk, pod to pod | two nodes, overlay, request/response p50: service ÷ pod to pod
  ≤ 1 | pcnk, pod to pod ÷ plain VXLAN | the same, pod to pod: pcnk ÷ plain kernel VXLAN
  | pcnk, pod to pod ÷ plain VXLAN without netfilter | the same ÷ plain kernel VXLAN, bridge netfilter off
  ≤ 0.9 | pcnk service ÷ kube-proxy | the same, service: pcnk ÷ kube-proxy on plain VXLAN
  | pcnk service ÷ kube-proxy's nft form | the same ÷ nft form
overlay crr, 1/s
  ≥ 1.2 | pcnk service ÷ kube-proxy | two nodes, overlay, new connections: service ÷ kube-proxy
  | pcnk service ÷ kube-proxy's nft form | the same ÷ nft form
direct rr, µs
  ≤ 1.02 | pcnk service ÷ pcnk, pod to pod | two nodes, direct routes, request/response p50: service ÷ pod to pod
nodeport rr, µs
  ≤ 0.85 | pcnk, local ÷ kube-proxy, local | NodePort from outside, request/response p50: pcnk ÷ kube-proxy, backend local
  ≤ 0.85 | pcnk, remote ÷ kube-proxy, remote | the same, backend remote
  | pcnk, local ÷ nft form, local | the same ÷ nft form, local
  | pcnk, remote ÷ nft form, remote | the same ÷ nft form, remote
nodeport crr, 1/s
  ≥ 1.3 | pcnk, local ÷ kube-proxy, local | NodePort from outside, new connections: pcnk ÷ kube-proxy, backend local
  ≥ 1.3 | pcnk, remote ÷ kube-proxy, remote | the same, backend remote
  | pcnk, local ÷ nft form, local | the same ÷ nft form, local
  | pcnk, remote ÷ nft form, remote | the same ÷ nft form, remote
nodeport full, 1/s
  | pcnk, table full ÷ kube-proxy, local | the same ÷ kube-proxy, local, pcnk's table full of ended sessions
world rr, µs
  ≤ 0.9 | pcnk ÷ kube-proxy and masquerade | pod to a machine outside, request/response p50: pcnk ÷ kube-proxy and the bridge plugin's masquerade
  ≤ 0.9 | pcnk, FORWARD DROP ÷ kube-proxy and masquerade | the same, pcnk with FORWARD's policy DROP
world crr, 1/s
  ≥ 1.1 | pcnk ÷ kube-proxy and masquerade | pod to a machine outside, new connections: pcnk ÷ kube-proxy and masquerade
  ≥ 1.1 | pcnk, FORWARD DROP ÷ kube-proxy and masquerade | the same, pcnk with FORWARD's policy DROP
nodeport-udp flood, 1/s
  | pcnk, local ÷ kube-proxy, local | NodePort, small UDP, packets a second on one core: pcnk ÷ kube-proxy, backend local
  | pcnk, local ÷ nft form, local | the same ÷ nft form
  | pcnk, remote ÷ kube-proxy, remote | the same ÷ kube-proxy, backend remote
  | pcnk, remote ÷ nft form, remote | the same ÷ nft form
monitor p50, µs
  ≤ 1.03 | drops ÷ no listener | TCP request/response p50 beside 100,000 drops/s: pcnk monitor ÷ no listener
  ≤ 1.03 | filtered ÷ no listener | the same, monitor --service --reason
  ≤ 1.03 | flows ÷ no listener | the same, monitor --flows --one-in 100
monitor rate, 1/s
  ≥ 0.97 | drops ÷ no listener | requests a second beside 100,000 drops/s: pcnk monitor ÷ no listener
monitor, %
  ≤ 3 | added | programs' time that pcnk monitor adds at 100,000 drops/s, of one CPU
monitor packet, µs
  | listening ÷ no listener | time of a dropped packet: pcnk monitor ÷ no listener
  | no listener ÷ without | the same: no listener ÷ programs without a monitor
host rr, µs
  ≤ 1.01 | host to service ÷ host to pod | a node's process, request/response p50: service ÷ pod
first-packet, µs
  ≤ 1.1 | 10,000 services ÷ 10 services | first packet (connect p50): at 10,000 services ÷ at 10
  | 10,000 services, each in turn ÷ 10 services | the same, each connection to another of the 10,000
load, s
  ≤ 2 | full | 10,000 × 10 from objects into the maps
load, ms
  ≤ 5 | update | an update of one of them, p50
  ≤ 5 | update p99 | the same, p99
resync, s
  ≤ 5 | full | 5,006 services, 250,011 backends
many connect, µs
  ≤ 0.5 | pcnk ÷ iptables | first packet (connect p50) at 10,000 services ÷ kube-proxy iptables
  | pcnk ÷ old iptables | the same ÷ kube-proxy on the old iptables
  ≤ 0.95 | pcnk ÷ nft | the same ÷ nft as kube-proxy writes it
many rr, µs
  ≤ 0.5 | pcnk ÷ iptables | TCP request/response p50 at 10,000 services ÷ kube-proxy iptables | loopback alone is above this bar (see the row for comparison): nothing that leaves the round trip to TCP can reach it
  | pcnk ÷ old iptables | the same ÷ kube-proxy on the old iptables
  ≤ 0.95 | pcnk ÷ nft | the same ÷ nft as kube-proxy writes it
  | loopback ÷ iptables | for comparison: loopback, no network at all ÷ kube-proxy iptables
reprogram, ms
  ≤ 0.02 | pcnk p99 ÷ kube-proxy 1.20, iptables-restore | one endpoint of 10,000 services changes: the map has it (p99) ÷ kube-proxy's restore
  ≤ 0.02 | pcnk p99 ÷ its input by iptables-legacy-restore | the same ÷ that restore by the old iptables
  ≤ 0.02 | pcnk p99 ÷ partial iptables-restore | the same ÷ the partial restore of kube-proxy since 1.28
  ≤ 0.02 | pcnk p99 ÷ partial iptables-legacy-restore | the same ÷ the partial restore by the old iptables
kube-agent, ms
  ≤ 50 | event p99 | API event until the map has it, 100 changes/s, p99
  | server p99 | the API server's part: until a watch beside the agent's has the event, p99
  | agent p99 | the agent's part: from then until the map has it, p99
  | event p50 | both, p50
  | server p50 | the API server's, p50
  | agent p50 | the agent's, p50
kube-agent, s
  ≤ 10 | ready | agent with 10,000 services, 100,000 endpoints, 5,000 nodes: ready
kube-agent, MB
  ≤ 300 | memory | its memory
  | peak | the most it ever had
kube-agent, %
  ≤ 1 | idle | its processor time when nothing happens
  | heartbeats | the same while 5,000 kubelets say that they are there
agent, MB
  ≤ 90 | idle | agent's memory, idle
  ≤ 250 | large | agent's memory with 10,000 × 10
agent, ms
  | ready | agent: start until ready
agent, s
  | large ready | the same with 10,000 × 10 as YAML
agent, ms
  | update | manifest replaced until the map has it
install, s
  ≤ 5 | first | pcnk install
  | again | the same again: nothing to do
kubelet, ms
  ≤ 150 | p99 | kubelet's ADD, one pod at a time: p99
  | each | the same, each
  ≤ 3.5 | with pcnk ÷ without | 50 pods at once: wall time of all ADDs, with pcnk ÷ without
  | burst | the same with pcnk, each ADD
`);
