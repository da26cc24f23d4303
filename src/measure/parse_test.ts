import { deepEqual, equal, throws } from "node:assert/strict";
import { parseIperf, parseSockperf, parseWrk } from "./parse.ts";

/** Of iperf3 3.12, shortened. */
const TCP = {
  start: {
    version: "iperf 3.12",
    test_start: { protocol: "TCP", num_streams: 1, blksize: 131072 },
  },
  intervals: [0, 0.500089].map((start, i) => ({
    streams: [{ socket: 5, start, end: start + 0.5, bits_per_second: 1e9, rtt: 84 + i }],
    sum: { start, end: start + 0.5, bits_per_second: 19898430967.81646, sender: true },
  })),
  end: {
    streams: [{ sender: { mean_rtt: 87, max_rtt: 90 }, receiver: { bits_per_second: 1 } }],
    sum_sent: { bits_per_second: 19995004654.688133 },
    sum_received: { bits_per_second: 19920072222.777523 },
  },
};

const UDP = {
  intervals: [{
    streams: [{ socket: 5, packets: 527810 }],
    sum: { start: 0, end: 1.000036, bits_per_second: 5911259194.668992 },
  }],
  end: {
    streams: [{ udp: { lost_packets: 402791, packets: 527810 } }],
    sum: { bits_per_second: 5911259194.668992, lost_percent: 76.31 },
    sum_sent: { bits_per_second: 5911259194.668992 },
    sum_received: { bits_per_second: 1400069992.860728 },
  },
};

const REFUSED = { start: {}, end: {}, error: "unable to connect to server: Connection refused" };

Deno.test("parseIperf() takes what arrived, and TCP's round trips in seconds", () => {
  const run = parseIperf(JSON.stringify(TCP));
  equal(run.rate, 19920072222.777523);
  equal(run.rtt, 87 * 1e-6);
  deepEqual(run.intervals.map(({ at }) => at), [0.5, 1.000089]);
  deepEqual(run.intervals.map(({ rtt }) => rtt), [84 * 1e-6, 85 * 1e-6]);
});

Deno.test("parseIperf() does not count datagrams that were lost", () => {
  const run = parseIperf(JSON.stringify(UDP));
  equal(run.rate, 1400069992.860728);
  equal(run.rtt, undefined);
  equal(run.intervals[0]!.rtt, undefined);
});

Deno.test("parseIperf() hands on iperf3's own words, and refuses what is no output of it", () => {
  throws(() => parseIperf(JSON.stringify(REFUSED)), {
    message: "iperf3: unable to connect to server: Connection refused",
  });
  throws(() => parseIperf("iperf3: not found"), /no JSON but "iperf3: not found"/);
  throws(() => parseIperf("{}"), /nothing of what was received/);
});

Deno.test("parseSockperf() takes the median, or says what went wrong", () => {
  const text = `sockperf: [Valid Duration] RunTime=0.550 sec; SentMessages=86321
sockperf: ---> percentile 75.000 =    5.224
sockperf: ---> percentile 50.000 =    5.063
sockperf: ---> percentile 25.000 =    4.976
`;
  equal(parseSockperf(text), 5.063 * 1e-6);
  throws(
    () => parseSockperf("sockperf: ERROR: Can\`t connect socket (errno=111 Connection refused)\n"),
    /^Error: sockperf: ERROR: Can\`t connect socket \(errno=111/,
  );
  throws(() => parseSockperf(""), /no message came back/);
});

Deno.test("parseWrk() takes requests a second, or says what went wrong", () => {
  const text = `Running 1s test @ http://10.96.11.3:80/
  1 threads and 8 connections
  18231 requests in 1.00s, 0.99MB read
Requests/sec:  18229.73
Transfer/sec:      0.99MB
`;
  equal(parseWrk(text), 18229.73);
  const none = "  Socket errors: connect 0, read 0, write 0, timeout 8\nRequests/sec:      0.00\n";
  throws(() => parseWrk(none), /wrk: Socket errors: connect 0, read 0, write 0, timeout 8/);
  throws(() => parseWrk("unable to connect to 127.0.0.1:9 Connection refused\n"), /refused/);
});
