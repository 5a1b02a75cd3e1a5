/*
 * The system calls of the shim's loop, with the results that the input asks for. Each holds the shim to its promise that it
 * names nothing to the kernel but the packet area, and writes all that the kernel might have written.
 */
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void check_area(const void *base, size_t length) {
  const uint8_t *from = base, *area = world.memory->bytes;
  bool lies_within = from >= area + world.slots_at && length <= world.memory->length &&
                     from <= area + world.memory->length - length;
  if (lies_within) return;
  fprintf(stderr, "%zu bytes from %td on lie outside the packet area\n", length, from - area);
  abort();
}

/* What a call gives: below 0 is -errno. Once the input is used up there is nothing to receive and everything is sent. */
static long result_of(long most, int idle) {
  static const int errors[] = {EINTR, EAGAIN, ENETDOWN, EIO, ENOBUFS, EINVAL, EMSGSIZE, EBADFD};
  if (world.at == world.end) return idle == 0 ? most : -idle;
  uint8_t choice = take8();
  if (choice < 32) return -errors[choice % 8];
  if (choice < 96) return most;
  return most == 0 ? 0 : (long)(take32() % (uint32_t)most) + 1;
}

static long finish(long result) {
  if (result >= 0) return result;
  errno = (int)-result;
  return -1;
}

ssize_t fuzz_write(int fd, const void *buffer, size_t length) {
  (void)fd;
  check_area(buffer, length);
  return finish(result_of((long)length, 0));
}

ssize_t fuzz_read(int fd, void *buffer, size_t length) {
  (void)fd;
  /* The event's counter is no packet. */
  if (length == sizeof(uint64_t) && ((uint8_t *)buffer < world.memory->bytes ||
                                     (uint8_t *)buffer >= world.memory->bytes + world.memory->length)) {
    memset(buffer, 1, length);
    return (ssize_t)length;
  }
  check_area(buffer, length);
  long result = result_of((long)length, EAGAIN);
  if (result > 0) memset(buffer, 0xa5, (size_t)result);
  return finish(result);
}

int fuzz_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
  (void)fd;
  (void)flags;
  if (count == 0 || count > SEND_CHUNK) abort();
  for (unsigned i = 0; i < count; i++) {
    const struct msghdr *header = &messages[i].msg_hdr;
    if (header->msg_iovlen != 1) abort();
    check_area(header->msg_iov->iov_base, header->msg_iov->iov_len);
    if (header->msg_name != NULL && header->msg_namelen != sizeof(struct sockaddr_ll)) abort();
  }
  return (int)finish(result_of(count, 0));
}

int fuzz_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout) {
  (void)fd;
  (void)flags;
  (void)timeout;
  for (unsigned i = 0; i < count; i++) {
    check_area(messages[i].msg_hdr.msg_iov->iov_base, messages[i].msg_hdr.msg_iov->iov_len);
  }
  long received = result_of(count, EAGAIN);
  for (long i = 0; i < received; i++) {
    const struct iovec *slot = messages[i].msg_hdr.msg_iov;
    uint8_t choice = take8();
    messages[i].msg_len = choice < 128 ? choice % (slot->iov_len + 1) : (unsigned)slot->iov_len;
    messages[i].msg_hdr.msg_flags = choice >= 240 ? MSG_TRUNC : 0;
    memset(slot->iov_base, 0x5a, messages[i].msg_len);
  }
  return (int)finish(received);
}

int fuzz_poll(struct pollfd *polled, nfds_t count, int timeout_ms) {
  static const short events[] = {0, 0, POLLIN, POLLIN, POLLERR, POLLHUP, POLLNVAL, POLLIN | POLLERR};
  int ready = 0;
  if (count > MAX_DEVICES + 1 || timeout_ms < 0) abort();
  if (world.at == world.end) return 0;
  if (take8() < 16) return (int)finish(-EINTR);
  for (nfds_t i = 0; i < count; i++) {
    polled[i].revents = polled[i].fd < 0 ? 0 : events[take8() % 8];
    if (polled[i].revents != 0) ready++;
  }
  return ready;
}

int fuzz_getsockopt(int fd, int level, int option, void *value, socklen_t *length) {
  (void)fd;
  (void)level;
  (void)option;
  if (*length != sizeof(int)) abort();
  if (take8() < 16) return (int)finish(-EBADF);
  *(int *)value = take8();
  return 0;
}

/* Always goes on, so that nobody waits for it in vain. */
int fuzz_clock_gettime(clockid_t clock, struct timespec *now) {
  (void)clock;
  world.clock_ns += 1000 + take8() * 1000;
  *now = (struct timespec){.tv_sec = world.clock_ns / 1000000000, .tv_nsec = world.clock_ns % 1000000000};
  return 0;
}
