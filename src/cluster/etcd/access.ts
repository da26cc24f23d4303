/** How etcd is reached. Paths of files are read again whenever they are used. */
export interface EtcdAccess {
  /** Base URLs, at least one. */
  endpoints: readonly string[];
  ca?: string;
  cert?: string;
  key?: string;
  username?: string;
  passwordFile?: string;
}
