/**
 * HTTP: a GET over a connection that is made by the uplink. What counts is that the page's own server answers well: a status of
 * 2xx, 304, or a redirect to the same host, as from http to https. A redirect elsewhere is what a captive portal does, as is
 * 511 (RFC 6585, section 6), and 4xx and 5xx say that something else than the wanted page was reached: none of them counts.
 *
 * The round trip is the handshake's, as with tcp: it is the line's, not the time that the server takes to think. The timeout is
 * for all of it. Of the answer only the head is read.
 */

import { request } from "node:http";
import { Socket } from "node:net";
import { explainSocketError } from "../../io/device-socket.ts";
import { type Asker, type AskerSettings, failed, sourceFor } from "./asker.ts";
import { openAsks } from "./asks.ts";
import { openConnection } from "./connection.ts";

export function openHttpAsker({ path, now }: AskerSettings): Asker {
  const asks = openAsks<object>(now);
  return {
    ask: async (target, timeoutMs) => {
      const page = pageOf(target);
      if (page === null) return failed("expected http://ADDRESS[:PORT]/PATH");
      const source = sourceFor(path, page.address);
      if (source.reason !== undefined) return failed(source.reason);
      const key = {};
      let stream: Socket | null = null;
      try {
        const connection = openConnection(path, source.address, page, {
          onConnected: (rttMs) => {
            stream = get(connection.detach(), page, (problem) => {
              if (problem !== null) asks.fail(key, problem);
              else if (rttMs > 0) asks.answerMeasured(key, rttMs);
              else asks.answerSeen(key);
            });
          },
          onRefused: () => asks.fail(key, "refused (ECONNREFUSED)"),
          onFailed: (reason) => asks.fail(key, reason),
        });
        const release = () => {
          connection.close();
          stream?.destroy();
        };
        const answer = asks.begin(key, timeoutMs, connection.look, release);
        connection.start();
        return await answer;
      } catch (error) {
        const reason = explainSocketError(error, path.interface);
        asks.fail(key, reason);
        return failed(reason);
      }
    },
    close: () => asks.failAll("given up"),
  };
}

export interface Page {
  readonly address: string;
  readonly port: number;
  /** With the port where the URL has one, and IPv6 in brackets. */
  readonly host: string;
  readonly path: string;
}

export function pageOf(target: string): Page | null {
  const url = URL.parse(target);
  if (url === null || url.protocol !== "http:") return null;
  const address = url.hostname.replace(/^\[(.*)\]$/, "$1");
  return { address, port: Number(url.port || 80), host: url.host, path: `${url.pathname}${url.search}` };
}

/** Asks for a page over a connected socket. `onAnswer`: what is wrong with the answer, null when it counts; more calls mean nothing. */
function get(fd: number, { host, path }: Page, onAnswer: (problem: string | null) => void): Socket {
  const stream = new Socket({ fd, readable: true, writable: true });
  const headers = { Host: host, "User-Agent": "sluice", Accept: "*/*", Connection: "close" };
  request({ createConnection: () => stream, method: "GET", path, headers })
    .on("response", (response) => {
      // Cut off in the middle, by us: what is left of the page is of no interest.
      response.on("error", () => {});
      onAnswer(judge(response.statusCode!, response.headers.location, host));
    })
    .on("error", (error) => onAnswer(`no HTTP: ${error.message}`))
    .end();
  return stream;
}

/** What is wrong with an answer; null when it counts. */
export function judge(status: number, location: string | undefined, host: string): string | null {
  if ((status >= 200 && status < 300) || status === 304) return null;
  if (status < 300 || status >= 400 || location === undefined) return `status ${status}`;
  const to = URL.parse(location, `http://${host}/`);
  const isSameHost = to !== null && to.hostname === URL.parse(`http://${host}/`)?.hostname;
  return isSameHost ? null : `status ${status}, sent elsewhere: ${(to?.host ?? location).slice(0, 80)}`;
}
