/*
 * What sockets of one interface send and receive: one datagram a call, with what the kernel knows about it.
 */
#include "socket-address.h"
#include "shim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <string.h>
#include <time.h>

/* The longest IP packet there is. */
enum { MAX_DATAGRAM = 65535 };

static bool is_of_link(const struct in6_addr *address) {
  return IN6_IS_ADDR_LINKLOCAL(address) || IN6_IS_ADDR_MC_LINKLOCAL(address);
}

bool read_address(const struct call *call, napi_value value, const char *what, int family, uint16_t port, int ifindex,
                  struct address *out) {
  char text[INET6_ADDRSTRLEN];
  if (!read_text(call, value, what, text, sizeof text)) return false;
  memset(out, 0, sizeof *out);
  if (family != AF_INET6 && inet_pton(AF_INET, text, &out->four.sin_addr) == 1) {
    out->four.sin_family = AF_INET;
    out->four.sin_port = htons(port);
    out->length = sizeof out->four;
    return true;
  }
  if (family != AF_INET && inet_pton(AF_INET6, text, &out->six.sin6_addr) == 1) {
    out->six.sin6_family = AF_INET6;
    out->six.sin6_port = htons(port);
    out->six.sin6_scope_id = is_of_link(&out->six.sin6_addr) ? (uint32_t)ifindex : 0;
    out->length = sizeof out->six;
    return true;
  }
  fail_argument(call, "%s must be an IP%s address, got %s", what, family == AF_INET ? "v4" : family == AF_INET6 ? "v6" : "", text);
  return false;
}

/* Where a datagram goes: to the address that was given, to everybody on the link, or (length 0) to where the socket is connected. */
static bool read_receiver(const struct call *call, napi_value value, const struct descriptor *socket, struct address *to) {
  int family = AF_UNSPEC, ifindex = atomic_load(&socket->ifindex);
  socklen_t length = sizeof family;
  if (getsockopt(socket->fd, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0) {
    fail(call, errno, "getsockopt SO_DOMAIN", "descriptor %d", socket->fd);
    return false;
  }
  if (!is_nullish(call, value)) return read_address(call, value, "address", family, 0, ifindex, to);
  *to = (struct address){.length = 0};
  if (family != AF_PACKET) return true;
  to->link = (struct sockaddr_ll){
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_ifindex = ifindex, .sll_halen = ETH_ALEN};
  memset(to->link.sll_addr, 0xff, ETH_ALEN);
  to->length = sizeof to->link;
  return true;
}

/* socketSend(fd, bytes, address | null): null: to where it is connected, of an arp socket to everybody on the link. */
napi_value socket_send(napi_env env, napi_callback_info info) {
  struct call call;
  struct address to;
  int64_t fd;
  void *bytes;
  size_t length;
  int error = 0;
  if (!call_begin(&call, env, info, "socketSend", 3)) return NULL;
  if (!read_integer(&call, call.arguments[0], "fd", 0, INT32_MAX, &fd)) return NULL;
  struct descriptor *socket = registry_hold(&call, fd, KIND_SOCKET, "fd");
  if (socket == NULL) return NULL;
  if (read_receiver(&call, call.arguments[2], socket, &to) &&
      read_records(&call, call.arguments[1], "bytes", 1, MAX_DATAGRAM, &bytes, &length) &&
      sendto(socket->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL, to.length > 0 ? &to.any : NULL, to.length) < 0) {
    error = errno;
  }
  registry_release(socket);
  if (error != 0) return fail(&call, error, "sendto", "descriptor %lld", (long long)fd);
  return NULL;
}

struct datagram {
  ssize_t bytes;
  struct address from;
  /* -1: not told. */
  int hop_limit;
  /* How long it had been waiting for us. 0 where the kernel did not say when it came, or the clock was set back. */
  double waited_ms;
};

static double milliseconds_since(const struct timespec *then) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) < 0) return 0;
  double passed = (double)(now.tv_sec - then->tv_sec) * 1e3 + (double)(now.tv_nsec - then->tv_nsec) / 1e6;
  return passed > 0 ? passed : 0;
}

static int receive(int fd, void *room, size_t capacity, struct datagram *datagram) {
  /* Aligned as control messages have to be. */
  union {
    char bytes[256];
    struct cmsghdr aligned;
  } control;
  struct iovec part = {.iov_base = room, .iov_len = capacity};
  memset(datagram, 0, sizeof *datagram);
  struct msghdr message = {.msg_name = &datagram->from.any, .msg_namelen = sizeof datagram->from, .msg_iov = &part,
                           .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  datagram->hop_limit = -1;
  datagram->bytes = recvmsg(fd, &message, MSG_DONTWAIT);
  if (datagram->bytes < 0) return errno;
  for (struct cmsghdr *part_of = CMSG_FIRSTHDR(&message); part_of != NULL; part_of = CMSG_NXTHDR(&message, part_of)) {
    if (part_of->cmsg_level == SOL_SOCKET && part_of->cmsg_type == SCM_TIMESTAMPNS) {
      struct timespec came;
      memcpy(&came, CMSG_DATA(part_of), sizeof came);
      datagram->waited_ms = milliseconds_since(&came);
    } else if (part_of->cmsg_level == IPPROTO_IPV6 && part_of->cmsg_type == IPV6_HOPLIMIT) {
      memcpy(&datagram->hop_limit, CMSG_DATA(part_of), sizeof datagram->hop_limit);
    }
  }
  return 0;
}

/* "" for what is no IP address. */
static void write_address(const struct address *from, char *text, socklen_t capacity) {
  text[0] = 0;
  if (from->any.sa_family == AF_INET) inet_ntop(AF_INET, &from->four.sin_addr, text, capacity);
  if (from->any.sa_family == AF_INET6) inet_ntop(AF_INET6, &from->six.sin6_addr, text, capacity);
}

static napi_value describe(const struct call *call, const struct datagram *datagram) {
  char text[INET6_ADDRSTRLEN];
  napi_value object, bytes, from, hop_limit, waited;
  napi_env env = call->env;
  write_address(&datagram->from, text, sizeof text);
  if (succeeded(call, napi_create_object(env, &object)) &&
      succeeded(call, napi_create_double(env, (double)datagram->bytes, &bytes)) &&
      succeeded(call, napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &from)) &&
      succeeded(call, napi_create_int32(env, datagram->hop_limit, &hop_limit)) &&
      succeeded(call, napi_create_double(env, datagram->waited_ms, &waited)) &&
      succeeded(call, napi_set_named_property(env, object, "bytes", bytes)) &&
      succeeded(call, napi_set_named_property(env, object, "from", from)) &&
      succeeded(call, napi_set_named_property(env, object, "hopLimit", hop_limit)) &&
      succeeded(call, napi_set_named_property(env, object, "waitedMs", waited))) {
    return object;
  }
  return NULL;
}

/* socketReceive(fd, room): {bytes, from, hopLimit, waitedMs}, or null when nothing is there. What does not fit is cut off. */
napi_value socket_receive(napi_env env, napi_callback_info info) {
  struct call call;
  struct datagram datagram;
  int64_t fd;
  void *room;
  size_t capacity;
  int error = 0;
  bool is_read;
  napi_value nothing;
  if (!call_begin(&call, env, info, "socketReceive", 2)) return NULL;
  if (!read_integer(&call, call.arguments[0], "fd", 0, INT32_MAX, &fd)) return NULL;
  struct descriptor *socket = registry_hold(&call, fd, KIND_SOCKET, "fd");
  if (socket == NULL) return NULL;
  is_read = read_records(&call, call.arguments[1], "room", 1, MAX_DATAGRAM, &room, &capacity);
  if (is_read) error = receive(socket->fd, room, capacity, &datagram);
  registry_release(socket);
  if (!is_read) return NULL;
  if (error == EAGAIN) return succeeded(&call, napi_get_null(env, &nothing)) ? nothing : NULL;
  if (error != 0) return fail(&call, error, "recvmsg", "descriptor %lld", (long long)fd);
  return describe(&call, &datagram);
}
