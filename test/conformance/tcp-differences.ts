/** Where our TCP states go another way than nf_conntrack's, and why. A case reads "STATE, EVENT from the SIDE: kernel's state -> ours"; "!" says dropped. */

export interface Difference {
  readonly reason: string;
  readonly cases: readonly string[];
}

export const differences: readonly Difference[] = [
  {
    reason:
      "nf_conntrack picks a connection up in the middle (nf_conntrack_tcp_loose). Translated, it would come from a port that the remote has never seen: only a SYN opens a flow.",
    cases: ["NONE, ACK from the inside: ESTABLISHED -> gone!"],
  },
  {
    reason:
      "A refused attempt's flow is kept for the transitory timeout (RFC 7857, section 2.2), so that a forged RST ends nothing. Its port is among the first to be used again.",
    cases: ["SYN_SENT, RST from the inside: NONE -> closed", "SYN_SENT, RST from the remote: NONE -> closed"],
  },
  {
    reason:
      "What does not fit the handshake goes on without any say in the state: the ends know better, and a RST in answer to it shall get through as well. The kernel calls it invalid.",
    cases: [
      "SYN_SENT, SYN+ACK from the inside: SYN_SENT! -> syn-sent",
      "SYN_SENT, ACK from the inside: SYN_SENT! -> syn-sent",
      "SYN_SENT, FIN from the inside: SYN_SENT! -> syn-sent",
      "SYN_SENT, FIN from the remote: SYN_SENT! -> syn-sent",
      "SYN_SENT2, ACK from the inside: SYN_SENT2! -> syn-sent2",
      "SYN_SENT2, FIN from the inside: SYN_SENT2! -> syn-sent2",
      "SYN_SENT2, FIN from the remote: SYN_SENT2! -> syn-sent2",
    ],
  },
  {
    reason:
      "A SYN within the window goes on to the host, which answers it with a challenge ACK (RFC 5961, section 4.2), and changes nothing here; one out of the window is dropped. The kernel drops any.",
    cases: [
      "SYN_RECV, SYN from the remote: SYN_RECV! -> syn-received",
      "ESTABLISHED, SYN from the remote: ESTABLISHED! -> established",
      "FIN_WAIT, SYN from the remote: FIN_WAIT! -> fin-wait",
      "CLOSE_WAIT, SYN from the remote: CLOSE_WAIT! -> fin-wait",
      "LAST_ACK, SYN from the remote: LAST_ACK! -> last-ack",
      "TIME_WAIT, SYN from the remote: NONE! -> time-wait",
      "CLOSE, SYN from the remote: CLOSE! -> reset",
    ],
  },
  {
    reason:
      "A remote that goes on after its RST did not send it: the connection is open again (RFC 7857, section 2.2; RFC 6146, section 3.5.2.2). In nf_conntrack it ends 10 s after its last packet.",
    cases: ["CLOSE, ACK from the remote: CLOSE -> established", "CLOSE, FIN from the remote: CLOSE -> close-wait"],
  },
  {
    reason:
      "A SYN+ACK of the side that began goes on likewise, for the remote to challenge. The kernel calls it invalid.",
    cases: [
      "ESTABLISHED, SYN+ACK from the inside: ESTABLISHED! -> established",
      "FIN_WAIT, SYN+ACK from the inside: FIN_WAIT! -> fin-wait",
      "CLOSE_WAIT, SYN+ACK from the inside: CLOSE_WAIT! -> fin-wait",
      "LAST_ACK, SYN+ACK from the inside: LAST_ACK! -> last-ack",
      "TIME_WAIT, SYN+ACK from the inside: TIME_WAIT! -> time-wait",
      "CLOSE, SYN+ACK from the inside: CLOSE! -> reset",
    ],
  },
  {
    reason:
      "The same end's FIN again is a retransmission, not the other's FIN: the connection stays half closed, and its data may go on for hours. The kernel gives it 30 s.",
    cases: [
      "FIN_WAIT, FIN from the inside: LAST_ACK -> fin-wait",
      "CLOSE_WAIT, FIN from the inside: LAST_ACK -> fin-wait",
    ],
  },
  {
    reason:
      "The inside may use its port again at once after a RST: its SYN is a new connection's. The kernel lets the SYN through and waits for its answer before it says so.",
    cases: ["CLOSE, SYN from the inside: CLOSE -> syn-sent"],
  },
];
