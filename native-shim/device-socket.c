/*
 * Sockets of one interface: what they send leaves by it whatever the routes say, and what they receive has come in
 * by it (SO_BINDTOIFINDEX, since Linux 5.0). For questions to the world outside, a few a second; they never block.
 *
 *   icmp, icmp6   raw: echo and neighbour discovery (raw(7); RFC 3542, section 3: the kernel writes ICMPv6 checksums)
 *   arp           a packet socket that starts behind the Ethernet header (packet(7))
 *   udp, tcp      as ever
 */
#include "socket-address.h"
#include "shim.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct sort {
  const char *name;
  /* AF_UNSPEC: that of the address. */
  int family, type, protocol;
} sorts[] = {
    {"icmp", AF_INET, SOCK_RAW, IPPROTO_ICMP},  {"icmp6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6},
    {"arp", AF_PACKET, SOCK_DGRAM, 0},          {"udp", AF_UNSPEC, SOCK_DGRAM, IPPROTO_UDP},
    {"tcp", AF_UNSPEC, SOCK_STREAM, IPPROTO_TCP},
};

struct options {
  const struct sort *sort;
  int64_t ifindex;
  struct address address;
  struct sock_fprog filter;
};

static bool read_sort(const struct call *call, const struct sort **sort) {
  char name[8];
  if (!read_text_property(call, call->arguments[0], "kind", name, sizeof name)) return false;
  for (size_t i = 0; i < sizeof sorts / sizeof sorts[0]; i++) {
    *sort = &sorts[i];
    if (strcmp(sorts[i].name, name) == 0) return true;
  }
  fail_argument(call, "kind must be icmp, icmp6, arp, udp or tcp, got %s", name);
  return false;
}

/* The program last: its pointer is good only until the next property is read. */
static bool read_options(const struct call *call, struct options *options) {
  napi_value object = call->arguments[0], address, filter;
  void *records = NULL;
  size_t count = 0;
  if (!read_sort(call, &options->sort) ||
      !read_integer_property(call, object, "ifindex", 1, INT32_MAX, &options->ifindex) ||
      !read_property(call, object, "address", &address) || !read_property(call, object, "filter", &filter)) {
    return false;
  }
  int family = options->sort->family;
  if (family != AF_PACKET && !read_address(call, address, "address", family, 0, (int)options->ifindex, &options->address)) {
    return false;
  }
  if (!is_nullish(call, filter) &&
      !read_records(call, filter, "filter", sizeof(struct sock_filter), BPF_MAXINSNS, &records, &count)) {
    return false;
  }
  options->filter = (struct sock_fprog){.len = (unsigned short)count, .filter = records};
  return true;
}

static int set(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }

static const char *bind_packet(int fd, const struct options *options) {
  struct sockaddr_ll all = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_ifindex = (int)options->ifindex};
  return bind(fd, (struct sockaddr *)&all, sizeof all) < 0 ? "bind" : NULL;
}

/* Returns the step that failed. A socket is bound to its interface before it could receive from another. */
static const char *configure(int fd, const struct options *options) {
  const struct sort *sort = options->sort;
  if (options->filter.len > 0 &&
      setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &options->filter, sizeof options->filter) < 0) {
    return "setsockopt SO_ATTACH_FILTER";
  }
  /* When an answer came is what its round trip ends with, not when we got round to it. */
  if (sort->type != SOCK_STREAM && set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1) < 0) return "setsockopt SO_TIMESTAMPNS";
  if (sort->family == AF_PACKET) return bind_packet(fd, options);
  if (set(fd, SOL_SOCKET, SO_BINDTOIFINDEX, (int)options->ifindex) < 0) return "setsockopt SO_BINDTOIFINDEX";
  /* Neighbour discovery is believed from the link only, which a hop limit of 255 proves (RFC 4861, section 7.1). */
  if (sort->protocol == IPPROTO_ICMPV6 && (set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) < 0 ||
                                           set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255) < 0 ||
                                           set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 255) < 0)) {
    return "setsockopt IPPROTO_IPV6";
  }
  /* A connection that is over leaves nothing behind, neither TIME_WAIT nor a FIN that nobody answers. */
  struct linger none = {.l_onoff = 1, .l_linger = 0};
  if (sort->type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none) < 0) return "setsockopt SO_LINGER";
  return bind(fd, &options->address.any, options->address.length) < 0 ? "bind" : NULL;
}

/* deviceSocketOpen({kind, ifindex, address, filter}): `address` is this machine's, and nothing for arp. */
napi_value device_socket_open(napi_env env, napi_callback_info info) {
  struct call call;
  struct options options;
  if (!call_begin(&call, env, info, "deviceSocketOpen", 1) || !read_options(&call, &options)) return NULL;
  const struct sort *sort = options.sort;
  int family = sort->family == AF_UNSPEC ? options.address.any.sa_family : sort->family;
  int fd = socket(family, sort->type | SOCK_NONBLOCK | SOCK_CLOEXEC, sort->protocol);
  if (fd < 0) return fail(&call, errno, "socket", "%s", sort->name);
  const char *failed_step = configure(fd, &options);
  if (failed_step != NULL) {
    int error = errno;
    close(fd);
    return fail(&call, error, failed_step, "%s on interface %lld", sort->name, (long long)options.ifindex);
  }
  return registry_add(&call, fd, KIND_SOCKET, (int)options.ifindex, false);
}

/* The socket of the first argument, held; NULL with an exception pending. */
static struct descriptor *hold_socket(struct call *call, napi_env env, napi_callback_info info, const char *function, size_t count) {
  int64_t fd;
  if (!call_begin(call, env, info, function, count)) return NULL;
  if (!read_integer(call, call->arguments[0], "fd", 0, INT32_MAX, &fd)) return NULL;
  return registry_hold(call, fd, KIND_SOCKET, "fd");
}

/* socketConnect(fd, address, port): begins to. A TCP socket is writable when it is decided. */
napi_value socket_connect(napi_env env, napi_callback_info info) {
  struct call call;
  struct address to;
  int64_t port;
  int error = 0;
  struct descriptor *socket = hold_socket(&call, env, info, "socketConnect", 3);
  if (socket == NULL) return NULL;
  bool is_read = read_integer(&call, call.arguments[2], "port", 1, UINT16_MAX, &port) &&
                 read_address(&call, call.arguments[1], "address", AF_UNSPEC, (uint16_t)port, atomic_load(&socket->ifindex), &to);
  if (is_read && connect(socket->fd, &to.any, to.length) < 0 && errno != EINPROGRESS) error = errno;
  registry_release(socket);
  if (error != 0) return fail(&call, error, "connect", "port %lld", (long long)port);
  return NULL;
}

/* An errno: why a connection failed, or why there is no answer to that. EAGAIN: it is not decided yet. */
static int connection_error(int fd, struct tcp_info *state) {
  int error = 0;
  socklen_t length = sizeof error, state_length = sizeof *state;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return errno;
  if (error != 0) return error;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, state, &state_length) < 0) return errno;
  if (state->tcpi_state == TCP_SYN_SENT) return EAGAIN;
  return state->tcpi_state == TCP_CLOSE ? ENOTCONN : 0;
}

/* socketConnection(fd): the round trip of the handshake in ms, 0 when the kernel did not measure it; null while it goes on. Throws how it failed. */
napi_value socket_connection(napi_env env, napi_callback_info info) {
  struct call call;
  struct tcp_info state = {0};
  napi_value result;
  struct descriptor *socket = hold_socket(&call, env, info, "socketConnection", 1);
  if (socket == NULL) return NULL;
  int error = connection_error(socket->fd, &state);
  registry_release(socket);
  if (error != 0 && error != EAGAIN) return fail(&call, error, "connect", "the connection");
  /* Of a SYN that was sent again it is not known which one was answered. */
  double round_trip_ms = state.tcpi_total_retrans > 0 ? 0 : state.tcpi_rtt / 1000.0;
  if (error == EAGAIN ? !succeeded(&call, napi_get_null(env, &result))
                      : !succeeded(&call, napi_create_double(env, round_trip_ms, &result))) {
    return NULL;
  }
  return result;
}

/* socketMac(fd): of an arp socket, the interface's own "02:00:00:00:00:01"; null where it is no Ethernet. */
napi_value socket_mac(napi_env env, napi_callback_info info) {
  struct call call;
  struct sockaddr_ll own = {0};
  socklen_t length = sizeof own;
  char text[3 * ETH_ALEN];
  napi_value result;
  struct descriptor *socket = hold_socket(&call, env, info, "socketMac", 1);
  if (socket == NULL) return NULL;
  int error = getsockname(socket->fd, (struct sockaddr *)&own, &length) < 0 ? errno : 0;
  registry_release(socket);
  if (error != 0) return fail(&call, error, "getsockname", "the interface");
  const unsigned char *mac = own.sll_addr;
  if (own.sll_family != AF_PACKET || own.sll_hatype != ARPHRD_ETHER || own.sll_halen != ETH_ALEN) {
    return succeeded(&call, napi_get_null(env, &result)) ? result : NULL;
  }
  snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
  return succeeded(&call, napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result)) ? result : NULL;
}

/* socketDetach(fd): it is the caller's from now on, who has another way to use and to close it. */
napi_value socket_detach(napi_env env, napi_callback_info info) {
  struct call call;
  int64_t fd;
  if (!call_begin(&call, env, info, "socketDetach", 1)) return NULL;
  if (!read_integer(&call, call.arguments[0], "fd", 0, INT32_MAX, &fd)) return NULL;
  registry_detach(&call, fd);
  return NULL;
}
