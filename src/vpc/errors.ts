/** What goes wrong between a node and its cloud, in words for the operator. */
import { ImdsError } from "./imds.ts";

/** One line: what failed, and what to do. */
export class VpcError extends Error {
  override readonly name = "VpcError";

  constructor(message: string, /** EC2's code. */ readonly code?: string) {
    super(message);
  }
}

/** @param action EC2's, e.g. CreateRoute */
export function asVpcError(action: string, error: unknown): VpcError {
  if (error instanceof VpcError) return error;
  if (error instanceof ImdsError) return new VpcError(error.message);
  const { name: code, message } = error as Error;
  const said = message.split("\n")[0]!.slice(0, 300);
  return new VpcError(`${explain(action, code, said)}`, code);
}

function explain(action: string, code: string, said: string): string {
  switch (code) {
    case "UnauthorizedOperation":
      return `the instance's role may not ec2:${action}; allow it in the role's policy (docs/aws.md)`;
    case "AuthFailure":
    case "SignatureDoesNotMatch":
    case "RequestExpired":
      return `EC2 refused the credentials at ${action} (${code}: ${said}); look at the instance's role and its clock`;
    case "RouteLimitExceeded":
      return `the route table is full (${said}); raise the quota "Routes per route table", or leave vpcMode out for some nodes`;
    case "RequestLimitExceeded":
    case "Throttling":
      return `EC2 throttles ${action}; it is tried again later`;
    case "TimeoutError":
      return `EC2 does not answer ${action} (${said}); the node needs a way to the EC2 API: a VPC endpoint, NAT or an internet gateway`;
    default:
      return `EC2 ${action} failed: ${code}: ${said}`;
  }
}
