/*
 * A loop: packet memory bound to devices. Opened once (loop.c), turned for ever (turn.c, flush.c, fill.c, wait.c).
 *
 * The memory is an ArrayBuffer that the loop keeps a strong reference to. JavaScript can still detach
 * it (transfer, resize), so each turn asks Node where it is now and refuses when that is not where it
 * was. Nothing can detach it during a turn: that would have to happen on the same thread.
 */
#ifndef SLUICE_LOOP_H
#define SLUICE_LOOP_H

#include "shim.h"

#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { MAX_DEVICES = 32, SEND_CHUNK = 64 };

/* The words of a device's queue, as src/tables/packet-memory.ts lays them out. */
enum { RECEIVE_COUNT, SEND_COUNT, DROPPED, LAST_ERRNO, RECEIVE_LENGTH };

struct device {
  struct descriptor *descriptor;
  /* Where in a slot a read lands. */
  size_t read_offset;
  /* Byte offset of the queue, and of receive slot 0. */
  size_t queue_at;
  size_t first_slot_at;
  /* Packet sockets only: one prepared message for each receive slot. */
  struct mmsghdr *messages;
  struct iovec *vectors;
  /* A link without a MAC header has to be told protocol and interface with every packet: that of IPv4; 0 elsewhere. */
  uint16_t send_protocol;
};

struct loop {
  struct instance *instance;
  int32_t handle;
  napi_ref memory;
  uint8_t *base;
  size_t total_bytes, slots_at, slot_bytes;
  int32_t receive_slots, send_capacity;
  uint32_t device_count;
  struct device devices[MAX_DEVICES];
  struct descriptor *event;
  /* How long a wait stays awake before it sleeps. */
  int64_t spin_ns;
  /* Devices, then the event. */
  struct pollfd polled[MAX_DEVICES + 1];
  struct mmsghdr send_messages[SEND_CHUNK];
  struct iovec send_vectors[SEND_CHUNK];
};

/* The first queue entry of the turn that was out of bounds. */
struct bad_entry {
  bool found;
  uint32_t device;
  int32_t index, start, length;
};

/* Sends a device's queue and empties it. Entries out of bounds are dropped; the first of the turn is kept in `bad`. */
void flush(struct loop *loop, uint32_t index, struct bad_entry *bad);

/* Receives into a device's slots what is there. Returns how many packets that was, which is RECEIVE_COUNT too. */
int32_t fill(struct loop *loop, struct device *device);

/* Waits, and fills the devices that are ready. Returns how many packets they gave, or -1 with errno. */
int32_t wait_and_fill(struct loop *loop, int timeout_ms);

/* Releases everything the loop holds, however far its opening came. */
void loop_free(struct loop *loop);

static inline int32_t *queue_of(const struct loop *loop, const struct device *device) {
  return (int32_t *)(loop->base + device->queue_at);
}

static inline void count_drop(int32_t *queue, int error) {
  queue[DROPPED] = (int32_t)((uint32_t)queue[DROPPED] + 1);
  queue[LAST_ERRNO] = error;
}

#endif
