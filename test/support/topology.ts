/** Who is who in the lab; scripts/lab draws it. */

export type Isp = "isp1" | "isp2" | "isp3";
export type Host = "client1" | "client2" | "router" | "server" | Isp;

/** The addresses of the topology. */
export const client1 = "192.168.10.2";
export const client2 = "192.168.10.3";
export const routerLan = "192.168.10.1";
/** All of 192.0.2.1 to 192.0.2.62 answers; these two are the server's by name. */
export const server = "192.0.2.10";
export const server2 = "192.0.2.11";
/** With IPv6 in the lab. */
export const client1v6 = "fd00:10::2";
export const client2v6 = "fd00:10::3";
export const routerLan6 = "fd00:10::1";
export const server6 = "2001:db8:ff::10";
export const uplinkAddress6: Readonly<Record<Isp, string>> = {
  isp1: "2001:db8:1::2",
  isp2: "2001:db8:2::2",
  isp3: "2001:db8:3::2",
};
/** What each provider routes to the router. */
export const delegatedPrefix: Readonly<Record<Isp, string>> = {
  isp1: "2001:db8:101::/48",
  isp2: "2001:db8:102::/48",
  isp3: "2001:db8:103::/48",
};
/** What the router has on each provider's link. */
export const uplinkAddress: Readonly<Record<Isp, string>> = {
  isp1: "203.0.113.2",
  isp2: "198.51.100.2",
  isp3: "192.0.2.130",
};
export const gatewayAddress: Readonly<Record<Isp, string>> = {
  isp1: "203.0.113.1",
  isp2: "198.51.100.1",
  isp3: "192.0.2.129",
};
export const uplinkInterface: Readonly<Record<Isp, string>> = { isp1: "wan0", isp2: "wan1", isp3: "wan2" };
