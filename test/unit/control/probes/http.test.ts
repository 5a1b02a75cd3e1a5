import { describe, expect, it } from "vitest";
import { judge, pageOf } from "../../../../src/control/probes/http.ts";
import { endpointOf } from "../../../../src/control/probes/tcp.ts";

describe("a page", () => {
  it("is an address, a port and a path", () => {
    expect(pageOf("http://192.0.2.10/up?now")).toEqual({
      ...{ address: "192.0.2.10", port: 80, host: "192.0.2.10", path: "/up?now" },
    });
    expect(pageOf("http://[2001:db8::10]:8080/")).toEqual({
      ...{ address: "2001:db8::10", port: 8080, host: "[2001:db8::10]:8080", path: "/" },
    });
    expect(pageOf("https://192.0.2.10/")).toBeNull();
    expect(pageOf("192.0.2.10")).toBeNull();
  });
});

describe("an HTTP answer", () => {
  it("counts when the page is there", () => {
    for (const status of [200, 204, 206, 304]) expect(judge(status, undefined, "192.0.2.10")).toBeNull();
  });

  it("counts when it leads to the same host, as from http to https", () => {
    expect(judge(301, "https://192.0.2.10/", "192.0.2.10")).toBeNull();
    expect(judge(302, "/login", "192.0.2.10:8080")).toBeNull();
    expect(judge(308, "http://[2001:db8::10]/", "[2001:db8::10]:81")).toBeNull();
  });

  it("does not count when it leads elsewhere, as that of a captive portal", () => {
    expect(judge(302, "http://portal.example/hello", "192.0.2.10")).toBe("status 302, sent elsewhere: portal.example");
    expect(judge(302, "http://[", "192.0.2.10")).toBe("status 302, sent elsewhere: http://[");
    expect(judge(307, undefined, "192.0.2.10")).toBe("status 307");
  });

  it("does not count when it is an error", () => {
    for (const status of [404, 407, 500, 511]) expect(judge(status, undefined, "192.0.2.10")).toBe(`status ${status}`);
  });
});

describe("a TCP target", () => {
  it("is an address and a port", () => {
    expect(endpointOf("192.0.2.10:443")).toEqual({ address: "192.0.2.10", port: 443 });
    expect(endpointOf("[2001:db8::10]:443")).toEqual({ address: "2001:db8::10", port: 443 });
    for (const target of ["192.0.2.10", "192.0.2.10:0", "192.0.2.10:65536", "192.0.2.10:http", "2001:db8::10"])
      expect(endpointOf(target), target).toBeNull();
  });
});
