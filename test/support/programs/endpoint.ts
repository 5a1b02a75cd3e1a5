/** "192.0.2.10:7" as the programs of the lab write an endpoint. */

export interface Endpoint {
  address: string;
  port: number;
}

export function endpoint(text: string): Endpoint {
  const [address, port] = text.split(":") as [string, string];
  return { address, port: Number(port) };
}
