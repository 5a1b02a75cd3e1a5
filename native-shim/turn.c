/*
 * One turn of a loop, in this order:
 *
 *   1. flush  what the data plane queued goes out, or is dropped and counted (flush.c)
 *   2. fill   what is there already comes in, without waiting
 *   3. wait   when nothing came: for a packet, the event or the timeout; then fill once more
 *
 * Sending comes first because it frees the slots that filling overwrites. Filling comes before waiting
 * because a busy loop then pays no poll at all.
 */
#include "loop.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TIMEOUT_MS = 60000, ERROR_PAUSE_MS = 50 };

/* ---- 2. fill ---- */

static int32_t fill_tun(struct loop *loop, struct device *device, int32_t *queue) {
  int32_t count = 0;
  size_t room = loop->slot_bytes - device->read_offset;
  while (count < loop->receive_slots) {
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
    count++;
  }
  return count;
}

/* Receives a batch. The first call of a socket whose link went down reports just that, once, and clears it; so there are two attempts. */
static int32_t receive_batch(struct loop *loop, struct device *device, int32_t *queue) {
  for (int attempt = 0; attempt < 2;) {
    int received =
        recvmmsg(device->descriptor->fd, device->messages, (unsigned)loop->receive_slots, MSG_DONTWAIT, NULL);
    if (received >= 0) return received;
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return 0;
    queue[LAST_ERRNO] = errno;
    attempt++;
  }
  return 0;
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

static int32_t fill(struct loop *loop, struct device *device) {
  int32_t *queue = queue_of(loop, device);
  int32_t count = device->descriptor->kind == KIND_TUN ? fill_tun(loop, device, queue) : fill_packets(loop, device, queue);
  queue[RECEIVE_COUNT] = count;
  return count;
}

/* ---- 3. wait ---- */

static int poll_all(struct loop *loop, int timeout_ms) {
  int ready = poll(loop->polled, loop->device_count + 1, timeout_ms);
  if (ready < 0 && errno == EINTR) return 0;
  if (ready > 0 && loop->polled[loop->device_count].revents != 0) {
    uint64_t signals;
    /* Drained by one read; EAGAIN when another loop of the same event was faster. */
    ssize_t drained = read(loop->event->fd, &signals, sizeof signals);
    (void)drained;
  }
  return ready;
}

/*
 * Leaves out the devices that report an error and no packet; true when those are all that poll
 * returned for. A TUN that was removed reports POLLERR for ever, and a loop that took that for
 * readiness would spin.
 */
static bool only_errors(struct loop *loop) {
  bool only = true;
  for (uint32_t i = 0; i <= loop->device_count; i++) {
    struct pollfd *polled = &loop->polled[i];
    if (polled->revents & POLLIN) {
      only = false;
    } else if (polled->revents != 0) {
      int error = 0;
      socklen_t length = sizeof error;
      if (i < loop->device_count) {
        int32_t *queue = queue_of(loop, &loop->devices[i]);
        bool is_socket = loop->devices[i].descriptor->kind == KIND_PACKET;
        if (is_socket && getsockopt(polled->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) error = errno;
        if (!is_socket) error = EBADFD;
        if (error != 0) queue[LAST_ERRNO] = error;
      }
      polled->fd = -1;
    }
  }
  return only;
}

/* Waits, and fills the devices that are ready. Returns what they gave, or -1 with errno. */
static int32_t wait_and_fill(struct loop *loop, int timeout_ms) {
  for (uint32_t i = 0; i < loop->device_count; i++) {
    loop->polled[i] = (struct pollfd){.fd = loop->devices[i].descriptor->fd, .events = POLLIN};
  }
  loop->polled[loop->device_count] = (struct pollfd){.fd = loop->event->fd, .events = POLLIN};

  int ready = poll_all(loop, timeout_ms);
  if (ready > 0 && only_errors(loop)) ready = poll_all(loop, timeout_ms < ERROR_PAUSE_MS ? timeout_ms : ERROR_PAUSE_MS);
  if (ready < 0) return -1;

  int32_t received = 0;
  for (uint32_t i = 0; ready > 0 && i < loop->device_count; i++) {
    if (loop->polled[i].revents & POLLIN) received += fill(loop, &loop->devices[i]);
  }
  return received;
}

/* ---- the turn ---- */

/* The loop, when its memory is still where it was; else NULL with an exception pending. */
static struct loop *find_loop(const struct call *call, int64_t handle) {
  struct loop *loop = call->instance->loops[handle % MAX_LOOPS];
  napi_value memory;
  void *data = NULL;
  size_t bytes = 0;
  if (loop == NULL || loop->handle != handle) {
    fail(call, EBADF, "turn", "loop %lld is not open", (long long)handle);
    return NULL;
  }
  if (!succeeded(call, napi_get_reference_value(call->env, loop->memory, &memory)) ||
      !succeeded(call, napi_get_arraybuffer_info(call->env, memory, &data, &bytes))) {
    return NULL;
  }
  if (data != loop->base || bytes != loop->total_bytes) {
    fail(call, EFAULT, "turn", "the memory of loop %lld was detached or resized", (long long)handle);
    return NULL;
  }
  return loop;
}

static napi_value fail_bad_entry(const struct call *call, const struct loop *loop, const struct bad_entry *bad) {
  if (bad->index < 0) {
    return fail(call, ERANGE, "turn", "device %u: sendCount must be from 0 to %d, got %d; nothing of it was sent",
                bad->device, loop->send_capacity, bad->length);
  }
  return fail(call, EFAULT, "turn", "device %u, send entry %d: start %d and length %d must lie within %zu and %zu",
              bad->device, bad->index, bad->start, bad->length, loop->slots_at, loop->total_bytes);
}

/* turn(handle, timeoutMs): packets received. A bad queue entry throws once everything else was sent; nothing is received then. */
napi_value turn(napi_env env, napi_callback_info info) {
  struct call call;
  int64_t handle, timeout_ms;
  napi_value result;
  if (!call_begin(&call, env, info, "turn", 2)) return NULL;
  if (!read_integer(&call, call.arguments[0], "handle", 1, INT32_MAX, &handle) ||
      !read_integer(&call, call.arguments[1], "timeoutMs", 0, MAX_TIMEOUT_MS, &timeout_ms)) {
    return NULL;
  }
  struct loop *loop = find_loop(&call, handle);
  if (loop == NULL) return NULL;

  struct bad_entry bad = {.found = false};
  for (uint32_t i = 0; i < loop->device_count; i++) {
    queue_of(loop, &loop->devices[i])[RECEIVE_COUNT] = 0;
    flush(loop, i, &bad);
  }
  if (bad.found) return fail_bad_entry(&call, loop, &bad);

  int32_t received = 0;
  for (uint32_t i = 0; i < loop->device_count; i++) received += fill(loop, &loop->devices[i]);
  if (received == 0 && timeout_ms > 0) received = wait_and_fill(loop, (int)timeout_ms);
  if (received < 0) return fail(&call, errno, "poll", "loop %lld", (long long)handle);
  if (!succeeded(&call, napi_create_int32(env, received, &result))) return NULL;
  return result;
}
