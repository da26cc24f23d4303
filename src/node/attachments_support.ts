/** For tests: attachment records as CNI ADD writes them. */
import {
  type Attachment,
  attachmentPath,
  attachmentsDir,
  encodeAttachment,
} from "./attachments.ts";

/** A whole record, with `fields` in place of its own. */
export function attachment(fields: Partial<Attachment> = {}): Attachment {
  return {
    containerID: "c1",
    ifname: "eth0",
    network: "pcnk",
    netns: "/run/netns/c1",
    hostIfindex: 7,
    hostIfname: "veth7",
    mac: "02:00:00:00:00:01",
    addresses: [{ address: "10.1.0.2", gateway: "10.1.0.1" }],
    ...fields,
  };
}

/** Writes such a record. */
export function writeAttachment(stateDir: string, fields: Partial<Attachment> = {}): void {
  const record = attachment(fields);
  Deno.mkdirSync(attachmentsDir(stateDir), { recursive: true });
  Deno.writeTextFileSync(attachmentPath(stateDir, record), encodeAttachment(record));
}
