/*
 * The third step of a turn, taken when nothing was there: waiting for a packet, the event or the timeout.
 *
 * A sleeping thread costs its waker some 5 us here and comes back some 30 us late, so a loop that found its
 * waits to be short asks again for a while before it sleeps. How long follows what the last waits would have
 * needed, as KVM's halt polling does (Linux, Documentation/virt/kvm/halt-polling.rst): a loop with little to do
 * never spins. Measured with 2 cores: one TCP stream 0.65 to 0.80 of the kernel's.
 */
#include "loop.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

/* A wait is short when it ended within SHORT_NS, of which the wake-up itself takes a good part. */
enum { LEAST_SPIN_NS = 10000, MOST_SPIN_NS = 50000, SHORT_NS = 100000, ERROR_PAUSE_MS = 50 };

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

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

/* Makes the next waits stay awake for longer after a short one, and for less after a long one. */
static void learn(struct loop *loop, int64_t waited_ns) {
  int64_t spin_ns = loop->spin_ns;
  if (waited_ns > SHORT_NS) {
    spin_ns /= 2;
    if (spin_ns < LEAST_SPIN_NS) spin_ns = 0;
  } else {
    spin_ns *= 2;
    if (spin_ns < LEAST_SPIN_NS) spin_ns = LEAST_SPIN_NS;
    if (spin_ns > MOST_SPIN_NS) spin_ns = MOST_SPIN_NS;
  }
  loop->spin_ns = spin_ns;
}

static int spin_and_poll(struct loop *loop, int timeout_ms) {
  int64_t began = now_ns();
  while (now_ns() - began < loop->spin_ns) {
    int ready = poll_all(loop, 0);
    if (ready != 0) return ready;
  }
  int ready = poll_all(loop, timeout_ms);
  learn(loop, now_ns() - began);
  return ready;
}

int32_t wait_and_fill(struct loop *loop, int timeout_ms) {
  for (uint32_t i = 0; i < loop->device_count; i++) {
    loop->polled[i] = (struct pollfd){.fd = loop->devices[i].descriptor->fd, .events = POLLIN};
  }
  loop->polled[loop->device_count] = (struct pollfd){.fd = loop->event->fd, .events = POLLIN};

  int ready = spin_and_poll(loop, timeout_ms);
  if (ready > 0 && only_errors(loop)) ready = poll_all(loop, timeout_ms < ERROR_PAUSE_MS ? timeout_ms : ERROR_PAUSE_MS);
  if (ready < 0) return -1;

  int32_t received = 0;
  for (uint32_t i = 0; ready > 0 && i < loop->device_count; i++) {
    if (loop->polled[i].revents & POLLIN) received += fill(loop, &loop->devices[i]);
  }
  return received;
}
