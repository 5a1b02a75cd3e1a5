/** The gateway that an interface's own default route names, of either family. */

import { type DefaultRoute, mainTable } from "./iproute.ts";

/**
 * By preference that of the main table, then by metric. Without a default route the one of before, as long as the
 * address stays: the kernel removes the route when the link goes down.
 */
export function learnGateway(
  device: string,
  address: string | null,
  routes: readonly DefaultRoute[],
  previous: { readonly address: string | null; readonly gateway: string | null } | null,
): string | null {
  const own = routes.filter((route) => route.device === device && route.gateway !== null);
  const order = (route: DefaultRoute) => (route.table === mainTable ? 0 : 2 ** 32) + route.metric;
  const best = own.sort((a, b) => order(a) - order(b))[0];
  if (best !== undefined) return best.gateway;
  return previous !== null && previous.address === address ? previous.gateway : null;
}
