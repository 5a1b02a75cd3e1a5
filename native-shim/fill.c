/*
 * The second step of a turn: receiving what is there already, into the slots of each device.
 *
 * A device gives a turn at most `receive_slots` packets, and no more once it has given TURN_BYTES. What a turn
 * receives is read once by the kernel and written once by it, so it had better still be in the cache then: 32
 * super-packets of three devices are 6 MB, and no level 2 cache holds them.
 */
#include "loop.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { TURN_BYTES = 512 * 1024, FIRST_MESSAGES = 8 };

static int32_t fill_tun(struct loop *loop, struct device *device, int32_t *queue) {
  int32_t count = 0;
  size_t room = loop->slot_bytes - device->read_offset, total = 0;
  while (count < loop->receive_slots && total < TURN_BYTES) {
    uint8_t *slot = loop->base + device->first_slot_at + (size_t)count * loop->slot_bytes + device->read_offset;
    ssize_t length = read(device->descriptor->fd, slot, room);
    if (length < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) queue[LAST_ERRNO] = errno;
      break;
    }
    /* A TUN cuts what does not fit without a word, so a full slot counts as cut. */
    if ((size_t)length >= room) {
      count_drop(queue, EMSGSIZE);
      continue;
    }
    queue[RECEIVE_LENGTH + count] = (int32_t)length;
    total += (size_t)length;
    count++;
  }
  return count;
}

/* Receives messages `from` to `to`. The first call of a socket whose link went down reports just that, once, and clears it; so there are two attempts. */
static int32_t receive_messages(struct device *device, int32_t *queue, int32_t from, int32_t to) {
  for (int attempt = 0; attempt < 2;) {
    int received = recvmmsg(device->descriptor->fd, device->messages + from, (unsigned)(to - from), MSG_DONTWAIT, NULL);
    if (received >= 0) return received;
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return 0;
    queue[LAST_ERRNO] = errno;
    attempt++;
  }
  return 0;
}

/* The kernel counts messages and not bytes, so the first few tell how many more there is room for. */
static int32_t receive_batch(struct loop *loop, struct device *device, int32_t *queue) {
  int32_t first = loop->receive_slots < FIRST_MESSAGES ? loop->receive_slots : FIRST_MESSAGES;
  int32_t received = receive_messages(device, queue, 0, first);
  if (received < first || first == loop->receive_slots) return received;
  size_t total = 1;
  for (int32_t i = 0; i < received; i++) total += device->messages[i].msg_len;
  if (total >= TURN_BYTES) return received;
  size_t fits = (TURN_BYTES - total) * (size_t)received / total;
  int32_t to = fits < (size_t)(loop->receive_slots - received) ? received + (int32_t)fits : loop->receive_slots;
  return to > received ? received + receive_messages(device, queue, received, to) : received;
}

static int32_t fill_packets(struct loop *loop, struct device *device, int32_t *queue) {
  int32_t received = receive_batch(loop, device, queue), count = 0;
  for (int32_t i = 0; i < received; i++) {
    const struct mmsghdr *message = &device->messages[i];
    if ((message->msg_hdr.msg_flags & MSG_TRUNC) != 0) {
      count_drop(queue, EMSGSIZE);
      continue;
    }
    /* Closes the gap that a cut packet left: it is so rare that a copy is cheaper than a rule for gaps. */
    if (count < i) memcpy(device->vectors[count].iov_base, device->vectors[i].iov_base, message->msg_len);
    queue[RECEIVE_LENGTH + count] = (int32_t)message->msg_len;
    count++;
  }
  return count;
}

int32_t fill(struct loop *loop, struct device *device) {
  int32_t *queue = queue_of(loop, device);
  int32_t count = device->descriptor->kind == KIND_TUN ? fill_tun(loop, device, queue) : fill_packets(loop, device, queue);
  queue[RECEIVE_COUNT] = count;
  return count;
}
