/*
 * Packet sockets (Linux: net/packet/af_packet.c, packet(7)), event descriptors, and close.
 */
#include "shim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct packet_options {
  int64_t ifindex, protocol, receive_bytes, send_bytes;
  bool vnet_header, ignore_outgoing;
  struct sock_fprog filter;
};

/* The program last: its pointer is good only until the next property is read. */
static bool read_packet_options(const struct call *call, struct packet_options *options) {
  napi_value object = call->arguments[0], filter;
  void *records = NULL;
  size_t count = 0;
  if (!read_integer_property(call, object, "ifindex", 1, INT32_MAX, &options->ifindex) ||
      !read_integer_property(call, object, "protocol", 1, UINT16_MAX, &options->protocol) ||
      !read_boolean_property(call, object, "vnetHeader", &options->vnet_header) ||
      !read_boolean_property(call, object, "ignoreOutgoing", &options->ignore_outgoing) ||
      !read_integer_property(call, object, "receiveBufferBytes", 0, INT32_MAX / 2, &options->receive_bytes) ||
      !read_integer_property(call, object, "sendBufferBytes", 0, INT32_MAX / 2, &options->send_bytes) ||
      !read_property(call, object, "filter", &filter)) {
    return false;
  }
  if (!is_nullish(call, filter) &&
      !read_records(call, filter, "filter", sizeof(struct sock_filter), BPF_MAXINSNS, &records, &count)) {
    return false;
  }
  options->filter = (struct sock_fprog){.len = (unsigned short)count, .filter = records};
  return true;
}

/* The size asked for, or without CAP_NET_ADMIN what net.core.rmem_max or wmem_max allows. */
static int set_buffer(int fd, int force, int ordinary, int64_t bytes) {
  int value = (int)bytes;
  if (setsockopt(fd, SOL_SOCKET, force, &value, sizeof value) == 0) return 0;
  if (errno != EPERM) return -1;
  return setsockopt(fd, SOL_SOCKET, ordinary, &value, sizeof value);
}

/* Everything before bind: the socket, opened for no protocol, must not receive a packet it should not. Returns the step that failed. */
static const char *configure(int fd, const struct packet_options *options) {
  int on = 1;
  if (options->filter.len > 0 &&
      setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &options->filter, sizeof options->filter) < 0) {
    return "setsockopt SO_ATTACH_FILTER";
  }
  if (options->vnet_header && setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) < 0) {
    return "setsockopt PACKET_VNET_HDR";
  }
  if (options->ignore_outgoing && setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) < 0) {
    return "setsockopt PACKET_IGNORE_OUTGOING";
  }
  if (set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options->receive_bytes) < 0) return "setsockopt SO_RCVBUF";
  if (set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options->send_bytes) < 0) return "setsockopt SO_SNDBUF";
  struct sockaddr_ll address = {
      .sll_family = AF_PACKET,
      .sll_protocol = htons((uint16_t)options->protocol),
      .sll_ifindex = (int)options->ifindex,
  };
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) return "bind";
  return NULL;
}

/* A raw socket, always: others cannot have vnet headers. On a link without a MAC header its packets start at IP.
 * packetOpen({ifindex, protocol, vnetHeader, ignoreOutgoing, receiveBufferBytes, sendBufferBytes, filter}) */
napi_value packet_open(napi_env env, napi_callback_info info) {
  struct call call;
  struct packet_options options;
  if (!call_begin(&call, env, info, "packetOpen", 1) || !read_packet_options(&call, &options)) return NULL;
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(&call, errno, "socket AF_PACKET", "interface %lld", (long long)options.ifindex);
  const char *failed_step = configure(fd, &options);
  if (failed_step != NULL) {
    int error = errno;
    close(fd);
    return fail(&call, error, failed_step, "interface %lld", (long long)options.ifindex);
  }
  return registry_add(&call, fd, KIND_PACKET, (int)options.ifindex, options.vnet_header);
}

/* PACKET_FANOUT, then the program, then the group's number, which the kernel chooses when PACKET_FANOUT_FLAG_UNIQUEID asks it to. */
static const char *join_fanout(int fd, uint32_t *group, const struct sock_fprog *program) {
  socklen_t length = sizeof *group;
  if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, group, sizeof *group) < 0) return "setsockopt PACKET_FANOUT";
  if (program->len > 0 && setsockopt(fd, SOL_PACKET, PACKET_FANOUT_DATA, program, sizeof *program) < 0) {
    return "setsockopt PACKET_FANOUT_DATA";
  }
  if (getsockopt(fd, SOL_PACKET, PACKET_FANOUT, group, &length) < 0) return "getsockopt PACKET_FANOUT";
  return NULL;
}

/* packetFanout(fd, groupId, typeAndFlags, program | null): the number of the group. */
napi_value packet_fanout(napi_env env, napi_callback_info info) {
  struct call call;
  int64_t fd, group_id, type_and_flags;
  void *records = NULL;
  size_t count = 0;
  napi_value number;
  if (!call_begin(&call, env, info, "packetFanout", 4)) return NULL;
  if (!read_integer(&call, call.arguments[0], "fd", 0, INT32_MAX, &fd) ||
      !read_integer(&call, call.arguments[1], "groupId", 0, UINT16_MAX, &group_id) ||
      !read_integer(&call, call.arguments[2], "typeAndFlags", 0, UINT16_MAX, &type_and_flags)) {
    return NULL;
  }
  if (!is_nullish(&call, call.arguments[3]) &&
      !read_records(&call, call.arguments[3], "program", sizeof(struct sock_filter), BPF_MAXINSNS, &records, &count)) {
    return NULL;
  }
  struct descriptor *descriptor = registry_hold(&call, fd, KIND_PACKET, "fd");
  if (descriptor == NULL) return NULL;
  uint32_t group = (uint32_t)group_id | (uint32_t)type_and_flags << 16;
  struct sock_fprog program = {.len = (unsigned short)count, .filter = records};
  const char *failed_step = join_fanout(descriptor->fd, &group, &program);
  int error = errno;
  registry_release(descriptor);
  if (failed_step != NULL) return fail(&call, error, failed_step, "group %lld", (long long)group_id);
  if (!succeeded(&call, napi_create_uint32(env, group & UINT16_MAX, &number))) return NULL;
  return number;
}

/* packetReplace(oldFd, newFd): the new socket takes the old one's number while loops go on polling that number. */
napi_value packet_replace(napi_env env, napi_callback_info info) {
  struct call call;
  int64_t old_fd, new_fd;
  if (!call_begin(&call, env, info, "packetReplace", 2)) return NULL;
  if (!read_integer(&call, call.arguments[0], "oldFd", 0, INT32_MAX, &old_fd) ||
      !read_integer(&call, call.arguments[1], "newFd", 0, INT32_MAX, &new_fd)) {
    return NULL;
  }
  registry_replace(&call, old_fd, new_fd);
  return NULL;
}

/* eventOpen() */
napi_value event_open(napi_env env, napi_callback_info info) {
  struct call call;
  if (!call_begin(&call, env, info, "eventOpen", 0)) return NULL;
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return fail(&call, errno, "eventfd", "a new event");
  return registry_add(&call, fd, KIND_EVENT, 0, false);
}

/* eventSignal(fd): ends the wait of the loop that polls it, or the next one. */
napi_value event_signal(napi_env env, napi_callback_info info) {
  struct call call;
  int64_t fd;
  if (!call_begin(&call, env, info, "eventSignal", 1)) return NULL;
  if (!read_integer(&call, call.arguments[0], "fd", 0, INT32_MAX, &fd)) return NULL;
  registry_signal(&call, fd);
  return NULL;
}

/* close(fd): any descriptor of the shim that no loop uses. */
napi_value descriptor_close(napi_env env, napi_callback_info info) {
  struct call call;
  int64_t fd;
  if (!call_begin(&call, env, info, "close", 1)) return NULL;
  if (!read_integer(&call, call.arguments[0], "fd", 0, INT32_MAX, &fd)) return NULL;
  registry_close(&call, fd);
  return NULL;
}
