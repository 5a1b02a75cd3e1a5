/*
 * UDP packets per second through a path, counted where they arrive.
 *
 *     udp-rate receive SHARED PORT                                    until SIGTERM
 *     udp-rate send SHARED ADDRESS PORT FLOWS BYTES WINDOW WARM_MS RUN_MS
 *
 * On one machine a sender without a brake measures the wrong thing: it takes the processor that the
 * forwarder needs, in order to make packets that are then thrown away. So each flow has at most WINDOW
 * packets under way, as TCP would: every packet carries its flow and its number there, and the receiver
 * writes the highest number of each flow into SHARED, a file that both map. Loss does not shrink a window,
 * since what counts is the highest number and not the sum; what nothing followed is given up after STALL_MS.
 * WINDOW 0 takes the brake off.
 *
 * The receiver looks every LOOK_US for what has come, since one that is woken by every packet interrupts
 * whoever delivers it, and that is the forwarder: it would be measured by its receiver's wake-ups.
 *
 * The sender prints {"sent", "received", "seconds", "waitedSeconds"} of the time after the warm-up.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
  /* Packets a system call. A sender's are of one flow; more would make a train that no mix of flows makes. */
  SEND_BATCH = 8,
  RECEIVE_BATCH = 64,
  MAX_BYTES = 1472,
  MAX_FLOWS = 4096,
  STALL_MS = 20,
  LOOK_US = 100,
  RECEIVE_BUFFER_BYTES = 8 << 20,
};

struct shared {
  /* Written by the receiver. */
  _Atomic uint64_t received;
  _Atomic uint32_t highest[MAX_FLOWS];
  /* How many must have been received to end the sender's wait; 0 while it does not wait. Written by both. */
  _Atomic uint32_t awaited;
};

/* At the head of every packet. */
struct label {
  uint32_t flow;
  uint32_t sequence;
};

static _Noreturn void fail(const char *format, ...) {
  int error = errno;
  va_list arguments;
  va_start(arguments, format);
  fputs("udp-rate: ", stderr);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, ": %s\n", strerror(error));
  va_end(arguments);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static struct shared *map_shared(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) fail("open %s", path);
  if (ftruncate(fd, sizeof(struct shared)) < 0) fail("ftruncate %s", path);
  struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (shared == MAP_FAILED) fail("mmap %s", path);
  close(fd);
  return shared;
}

static long number(const char *text, const char *what, long least, long most) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value < least || value > most) {
    fprintf(stderr, "udp-rate: %s must be from %ld to %ld, not '%s'\n", what, least, most, text);
    exit(2);
  }
  return value;
}

/* ---- receive ---- */

static bool is_after(uint32_t a, uint32_t b) { return (int32_t)(a - b) > 0; }

static void wake_sender(struct shared *shared) {
  uint32_t awaited = atomic_load(&shared->awaited);
  if (awaited == 0 || is_after(awaited, (uint32_t)shared->received)) return;
  atomic_store(&shared->awaited, 0);
  syscall(SYS_futex, &shared->awaited, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void receive(const char *path, uint16_t port) {
  static uint8_t bytes[RECEIVE_BATCH][MAX_BYTES];
  static struct iovec vectors[RECEIVE_BATCH];
  static struct mmsghdr messages[RECEIVE_BATCH];
  struct shared *shared = map_shared(path);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  int buffer = RECEIVE_BUFFER_BYTES;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (fd < 0) fail("socket");
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0) fail("SO_RCVBUFFORCE");
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("bind to port %u", port);
  for (int i = 0; i < RECEIVE_BATCH; i++) {
    vectors[i] = (struct iovec){bytes[i], MAX_BYTES};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
  }
  /* The usual slack of 50 us is added to every sleep. */
  if (prctl(PR_SET_TIMERSLACK, 1000) < 0) fail("PR_SET_TIMERSLACK");
  puts("receiving");
  fflush(stdout);
  for (;;) {
    int count = recvmmsg(fd, messages, RECEIVE_BATCH, MSG_DONTWAIT, NULL);
    if (count < 0 && errno == EAGAIN) nanosleep(&(struct timespec){.tv_nsec = LOOK_US * 1000}, NULL);
    else if (count < 0 && errno != EINTR) fail("recvmmsg");
    for (int i = 0; i < count; i++) {
      struct label label;
      memcpy(&label, bytes[i], sizeof label);
      if (label.flow < MAX_FLOWS && is_after(label.sequence, shared->highest[label.flow])) {
        atomic_store_explicit(&shared->highest[label.flow], label.sequence, memory_order_relaxed);
      }
    }
    if (count <= 0) continue;
    atomic_fetch_add(&shared->received, (uint64_t)count);
    wake_sender(shared);
  }
}

/* ---- send ---- */

struct flow {
  int fd;
  uint32_t sequence;
  /* What is not under way any more: arrived, overtaken, or given up. */
  uint32_t settled;
};

struct sender {
  struct shared *shared;
  struct flow flows[MAX_FLOWS];
  uint32_t flow_count;
  uint32_t window;
  uint64_t sent;
  uint64_t waited_ns;
  uint8_t bytes[SEND_BATCH][MAX_BYTES];
  struct iovec vectors[SEND_BATCH];
  struct mmsghdr messages[SEND_BATCH];
};

static void open_flows(struct sender *sender, const char *host, uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
    fprintf(stderr, "udp-rate: '%s' is no IPv4 address\n", host);
    exit(2);
  }
  for (uint32_t i = 0; i < sender->flow_count; i++) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) fail("socket %u", i);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect to %s", host);
    sender->flows[i].fd = fd;
  }
}

static bool has_room(struct sender *sender, uint32_t index) {
  struct flow *flow = &sender->flows[index];
  if (sender->window == 0) return true;
  uint32_t highest = atomic_load_explicit(&sender->shared->highest[index], memory_order_relaxed);
  if (is_after(highest, flow->settled)) flow->settled = highest;
  return flow->sequence - flow->settled + SEND_BATCH <= sender->window;
}

static void send_batch(struct sender *sender, uint32_t index) {
  struct flow *flow = &sender->flows[index];
  for (int i = 0; i < SEND_BATCH; i++) {
    struct label label = {index, ++flow->sequence};
    memcpy(sender->bytes[i], &label, sizeof label);
  }
  sender->sent += SEND_BATCH;
  /* A full device queue (ENOBUFS) loses packets, as a full queue anywhere does. */
  int sent = sendmmsg(flow->fd, sender->messages, SEND_BATCH, 0);
  if (sent < 0 && errno != ENOBUFS && errno != ECONNREFUSED) fail("sendmmsg");
}

/* All windows are full. Half of what is under way shall arrive before the next packet goes: a wake-up for each would cost more than the packet. */
static void wait_for_room(struct sender *sender) {
  struct shared *shared = sender->shared;
  uint64_t start = now_ns(), end = start + STALL_MS * 1000000u;
  uint32_t under_way = 0;
  for (uint32_t i = 0; i < sender->flow_count; i++) under_way += sender->flows[i].sequence - sender->flows[i].settled;
  uint32_t awaited = (uint32_t)atomic_load(&shared->received) + under_way / 2;
  if (awaited == 0) awaited = 1;
  for (uint64_t now = start;; now = now_ns()) {
    atomic_store(&shared->awaited, awaited);
    if (!is_after(awaited, (uint32_t)atomic_load(&shared->received))) break;
    if (now >= end) {
      for (uint32_t i = 0; i < sender->flow_count; i++) sender->flows[i].settled = sender->flows[i].sequence;
      break;
    }
    struct timespec left = {.tv_nsec = (long)(end - now)};
    syscall(SYS_futex, &shared->awaited, FUTEX_WAIT, awaited, &left, NULL, 0);
  }
  atomic_store(&shared->awaited, 0);
  sender->waited_ns += now_ns() - start;
}

static void send_until(struct sender *sender, uint64_t end) {
  while (now_ns() < end) {
    bool sent = false;
    for (uint32_t i = 0; i < sender->flow_count; i++) {
      if (!has_room(sender, i)) continue;
      send_batch(sender, i);
      sent = true;
    }
    if (!sent) wait_for_room(sender);
  }
}

static void send_all(char **arguments) {
  static struct sender sender;
  sender.shared = map_shared(arguments[0]);
  uint16_t port = (uint16_t)number(arguments[2], "PORT", 1, 65535);
  sender.flow_count = (uint32_t)number(arguments[3], "FLOWS", 1, MAX_FLOWS);
  size_t length = (size_t)number(arguments[4], "BYTES", (long)sizeof(struct label), MAX_BYTES);
  sender.window = (uint32_t)number(arguments[5], "WINDOW", 0, 1 << 16);
  uint64_t warm_ns = (uint64_t)number(arguments[6], "WARM_MS", 0, 600000) * 1000000u;
  uint64_t run_ns = (uint64_t)number(arguments[7], "RUN_MS", 1, 600000) * 1000000u;
  open_flows(&sender, arguments[1], port);
  for (int i = 0; i < SEND_BATCH; i++) {
    sender.vectors[i] = (struct iovec){sender.bytes[i], length};
    sender.messages[i].msg_hdr = (struct msghdr){.msg_iov = &sender.vectors[i], .msg_iovlen = 1};
  }

  send_until(&sender, now_ns() + warm_ns);
  uint64_t start = now_ns(), received = atomic_load(&sender.shared->received);
  uint64_t sent = sender.sent;
  sender.waited_ns = 0;
  send_until(&sender, start + run_ns);
  double seconds = (double)(now_ns() - start) / 1e9;
  printf("{\"sent\": %llu, \"received\": %llu, \"seconds\": %.6f, \"waitedSeconds\": %.6f}\n", (unsigned long long)(sender.sent - sent),
         (unsigned long long)(atomic_load(&sender.shared->received) - received), seconds,
         (double)sender.waited_ns / 1e9);
}

int main(int count, char **arguments) {
  if (count == 4 && strcmp(arguments[1], "receive") == 0) {
    receive(arguments[2], (uint16_t)number(arguments[3], "PORT", 1, 65535));
  } else if (count == 10 && strcmp(arguments[1], "send") == 0) {
    send_all(&arguments[2]);
  } else {
    fputs("usage: udp-rate receive SHARED PORT\n"
          "       udp-rate send SHARED ADDRESS PORT FLOWS BYTES WINDOW WARM_MS RUN_MS\n", stderr);
    return 2;
  }
  return 0;
}
