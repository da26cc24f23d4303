/** What the load tools print, in base units: bit/s, seconds, 1/s (pure). */

/** One second, or less, of an iperf3 run. */
interface Interval {
  /** End of the interval, seconds from the start. */
  at: number;
  /** Payload, bit/s. */
  rate: number;
  /** TCP's smoothed round trip time at its end, seconds; absent for UDP. */
  rtt?: number;
}

/** An iperf3 run from the client's contender. */
interface IperfRun {
  /** Payload that arrived, bit/s. */
  rate: number;
  /** Mean of TCP's smoothed round trip times, seconds; absent for UDP. */
  rtt?: number;
  intervals: Interval[];
}

interface IperfJson {
  error?: string;
  intervals?: { sum: { end: number; bits_per_second: number }; streams: { rtt?: number }[] }[];
  end?: {
    sum_received?: { bits_per_second: number };
    streams?: { sender?: { mean_rtt?: number } }[];
  };
}

const MICRO = 1e-6;

/**
 * Output of `iperf3 --json` (3.7 and newer).
 * @throws {Error} with iperf3's own words when it failed, or when this is no such output
 */
export function parseIperf(text: string): IperfRun {
  let json: IperfJson;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Error(`iperf3 printed no JSON but ${JSON.stringify(text.slice(0, 80))}`);
  }
  if (json.error) throw new Error(`iperf3: ${json.error}`);
  const rate = json.end?.sum_received?.bits_per_second;
  if (rate === undefined) throw new Error("iperf3 says nothing of what was received");
  const rtt = json.end?.streams?.[0]?.sender?.mean_rtt;
  return {
    rate,
    rtt: rtt && rtt * MICRO,
    intervals: (json.intervals ?? []).map(({ sum, streams }) => ({
      at: sum.end,
      rate: sum.bits_per_second,
      rtt: streams[0]?.rtt && streams[0].rtt * MICRO,
    })),
  };
}

/**
 * Median round trip of `sockperf ping-pong --full-rtt`, seconds.
 * @throws {Error} when nothing came back
 */
export function parseSockperf(text: string): number {
  const median = /percentile 50\.0+ *= *([\d.]+)/.exec(text)?.[1];
  if (median !== undefined) return Number(median) * MICRO;
  const said = /ERROR[^\n]*|No messages were received[^\n]*/.exec(text)?.[0];
  throw new Error(`sockperf: ${said ?? "no message came back"}`);
}

/**
 * Requests a second of wrk; where the server closes each connection that is connections a second.
 * @throws {Error} when none was answered
 */
export function parseWrk(text: string): number {
  const rate = Number(/^Requests\/sec: +([\d.]+)/m.exec(text)?.[1]);
  if (rate > 0) return rate;
  const errors = /Socket errors: [^\n]*/.exec(text)?.[0];
  throw new Error(`wrk: ${errors ?? (text.trim().split("\n").at(-1) || "no answer")}`);
}
