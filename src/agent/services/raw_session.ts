/** Entries of the session tables in the raw bytes of a batch, decoded as far as they are asked: there may be many. */
import { LITTLE } from "../../bpf/codec.ts";
import { session, SESSION_FLAG, SESSION_STATE, SESSION_ZONE } from "../../bpf/layout.ts";
import { type SessionKey, sessionKey } from "../../bpf/layout.ts";
import { type AddressValue, readAddress, readValue } from "../../net/address.ts";
import type { SessionView } from "../../services/sessions.ts";
import { offsetOf } from "./kernel_maps.ts";

const keyAt = (name: string) => offsetOf(sessionKey.fields, name);
const valueAt = (name: string) => offsetOf(session.fields, name);

const at = {
  key: {
    src: keyAt("src"),
    dst: keyAt("dst"),
    sport: keyAt("sport"),
    dport: keyAt("dport"),
    proto: keyAt("proto"),
    zone: keyAt("zone"),
  },
  value: {
    lastSeen: valueAt("last_seen"),
    src: valueAt("src"),
    dst: valueAt("dst"),
    sport: valueAt("sport"),
    dport: valueAt("dport"),
    state: valueAt("state"),
    flags: valueAt("flags"),
    service: valueAt("service_id"),
  },
};

/** One entry of a batch at a time. That of the reply direction holds the frontend as its translation. */
export class RawSession implements SessionView {
  #keys = new DataView(new ArrayBuffer(0));
  #values = this.#keys;
  #key = 0;
  #value = 0;
  flags = 0;

  /** Goes to the entry of this index. */
  point(keys: DataView<ArrayBuffer>, values: DataView<ArrayBuffer>, index: number): void {
    [this.#keys, this.#key] = [keys, index * sessionKey.size];
    [this.#values, this.#value] = [values, index * session.size];
    this.flags = values.getUint8(this.#value + at.value.flags);
  }

  get isReply(): boolean {
    return (this.flags & SESSION_FLAG.REPLY) !== 0;
  }
  get zone(): number {
    return this.#keys.getUint8(this.#key + at.key.zone);
  }
  get proto(): number {
    return this.#keys.getUint8(this.#key + at.key.proto);
  }
  get serviceId(): number {
    return this.#values.getUint32(this.#value + at.value.service, LITTLE);
  }
  get state(): number {
    return this.#values.getUint8(this.#value + at.value.state);
  }
  /** Nanoseconds of CLOCK_MONOTONIC. */
  get lastSeen(): bigint {
    return this.#values.getBigInt64(this.#value + at.value.lastSeen, LITTLE);
  }
  get key(): SessionKey {
    return sessionKey.decode(this.#keys, this.#key);
  }
  /** Of the other direction's entry, as reverse_key() of bpf/lib has it. */
  get otherKey(): SessionKey {
    const { src, dst, sport, dport, flags } = session.decode(this.#values, this.#value);
    const reply = SESSION_FLAG.REPLY | SESSION_FLAG.MASQUERADE;
    const zone = (flags & reply) === reply ? SESSION_ZONE.MASQUERADE : SESSION_ZONE.SERVICE;
    return { src: dst, dst: src, sport: dport, dport: sport, proto: this.proto, zone };
  }
  /** Of a forward entry: who opened the flow. See session_client() of bpf/lib. */
  get client(): AddressValue {
    const src = readValue(this.#keys, this.#key + at.key.src, 4);
    const exempt = (this.flags & SESSION_FLAG.MASQUERADE) !== 0 &&
      readValue(this.#values, this.#value + at.value.src, 4) === src;
    return exempt ? readValue(this.#keys, this.#key + at.key.dst, 4) : src;
  }
  get frontendAddr(): string {
    return this.isReply
      ? readAddress(this.#values, this.#value + at.value.src, 4)
      : readAddress(this.#keys, this.#key + at.key.dst, 4);
  }
  get frontendPort(): number {
    return this.isReply
      ? this.#values.getUint16(this.#value + at.value.sport)
      : this.#keys.getUint16(this.#key + at.key.dport);
  }
  get backend(): AddressValue {
    return this.isReply
      ? readValue(this.#keys, this.#key + at.key.src, 4)
      : readValue(this.#values, this.#value + at.value.dst, 4);
  }
  get backendPort(): number {
    return this.isReply
      ? this.#keys.getUint16(this.#key + at.key.sport)
      : this.#values.getUint16(this.#value + at.value.dport);
  }
  /** Only the forward entry follows the handshake. */
  get unestablished(): boolean {
    return !this.isReply && this.state === SESSION_STATE.NEW;
  }
}
