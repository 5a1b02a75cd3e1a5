/*
 * The first step of a turn: sending what the data plane queued. The queues lie in memory that
 * JavaScript writes, so each word is read once and checked then.
 */
#include "loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <unistd.h>

static void write_packet(int fd, int32_t *queue, const struct iovec *packet) {
  ssize_t written;
  do {
    written = write(fd, packet->iov_base, packet->iov_len);
  } while (written < 0 && errno == EINTR);
  if (written < 0) count_drop(queue, errno);
}

/* Sends a chunk. A packet that the kernel refuses (queue full, link down, too long) is dropped; those after it still go. */
static void send_chunk(struct loop *loop, int fd, int32_t *queue, unsigned count) {
  unsigned done = 0;
  while (done < count) {
    int sent = sendmmsg(fd, &loop->send_messages[done], count - done, MSG_DONTWAIT);
    if (sent > 0) {
      done += (unsigned)sent;
    } else if (errno != EINTR) {
      count_drop(queue, errno);
      done++;
    }
  }
}

static void prepare_messages(struct loop *loop) {
  for (unsigned i = 0; i < SEND_CHUNK; i++) {
    loop->send_messages[i].msg_hdr = (struct msghdr){.msg_iov = &loop->send_vectors[i], .msg_iovlen = 1};
  }
}

/* On a link without a MAC header: a device's protocol is that of IPv4, and IPv6 has one of its own. */
static void address_message(struct msghdr *header, const struct device *device, struct sockaddr_ll *destination) {
  const struct iovec *packet = header->msg_iov;
  size_t ip_at = sizeof(struct virtio_net_hdr);
  bool is_ipv6 = packet->iov_len > ip_at && ((const uint8_t *)packet->iov_base)[ip_at] >> 4 == 6;
  *destination = (struct sockaddr_ll){
      .sll_family = AF_PACKET,
      .sll_ifindex = atomic_load(&device->descriptor->ifindex),
      .sll_protocol = htons(is_ipv6 ? ETH_P_IPV6 : device->send_protocol),
  };
  header->msg_name = destination;
  header->msg_namelen = sizeof *destination;
}

void flush(struct loop *loop, uint32_t index, struct bad_entry *bad) {
  struct device *device = &loop->devices[index];
  int32_t *queue = queue_of(loop, device);
  const int32_t *starts = queue + RECEIVE_LENGTH + loop->receive_slots;
  const int32_t *lengths = starts + loop->send_capacity;
  int32_t count = queue[SEND_COUNT];
  queue[SEND_COUNT] = 0;
  if (count == 0) return;
  if (count < 0 || count > loop->send_capacity) {
    count_drop(queue, ERANGE);
    if (!bad->found) *bad = (struct bad_entry){.found = true, .device = index, .index = -1, .length = count};
    return;
  }

  int fd = device->descriptor->fd;
  bool is_tun = device->descriptor->kind == KIND_TUN;
  struct sockaddr_ll destinations[SEND_CHUNK];
  if (!is_tun) prepare_messages(loop);
  unsigned chunk = 0;
  for (int32_t i = 0; i < count; i++) {
    int32_t start = starts[i], length = lengths[i];
    if (length < 0 || start < 0 || (size_t)start < loop->slots_at || (size_t)start + (size_t)length > loop->total_bytes) {
      count_drop(queue, EFAULT);
      if (!bad->found) *bad = (struct bad_entry){true, index, i, start, length};
      continue;
    }
    struct iovec *packet = &loop->send_vectors[chunk];
    packet->iov_base = loop->base + start;
    packet->iov_len = (size_t)length;
    if (is_tun) {
      write_packet(fd, queue, packet);
      continue;
    }
    if (device->send_protocol != 0)
      address_message(&loop->send_messages[chunk].msg_hdr, device, &destinations[chunk]);
    if (++chunk == SEND_CHUNK) {
      send_chunk(loop, fd, queue, chunk);
      chunk = 0;
    }
  }
  send_chunk(loop, fd, queue, chunk);
}
