/*
 * UDP packets per second through a path, counted where they arrive.
 *
 *     udp-rate receive SHARED PORT                                    until SIGTERM
 *     udp-rate send SHARED ADDRESS PORT FLOWS BYTES WINDOW WARM_MS RUN_MS
 *
 * On one machine a sender without a brake measures the wrong thing: it takes the processor that the
 * forwarder needs, in order to make packets that are then thrown away. So the sender keeps at most
 * WINDOW packets under way, as TCP would: every packet carries its number, and the receiver writes the
 * highest number it saw into SHARED, a file that both map. WINDOW 0 takes the brake off.
 *
 * The sender prints {"sent", "received", "seconds", "waitedSeconds"} of the time after the warm-up.
 * Loss does not shrink the window, since what counts is the highest number and not the sum; a path
 * that lost everything under way gets a fresh window after STALL_MS.
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
  RECEIVE_BUFFER_BYTES = 8 << 20,
};

/* The receiver writes the first two, the sender the third. */
struct shared {
  _Atomic uint64_t received;
  _Atomic uint32_t highest;
  /* The number whose arrival shall end the sender's wait; 0 while it does not wait. */
  _Atomic uint32_t awaited;
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

static void wake_sender(struct shared *shared, uint32_t highest) {
  uint32_t awaited = atomic_load(&shared->awaited);
  if (awaited == 0 || is_after(awaited, highest)) return;
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
  puts("receiving");
  fflush(stdout);
  uint32_t highest = 0;
  for (;;) {
    int count = recvmmsg(fd, messages, RECEIVE_BATCH, MSG_WAITFORONE, NULL);
    if (count < 0 && errno != EINTR) fail("recvmmsg");
    for (int i = 0; i < count; i++) {
      uint32_t sequence;
      memcpy(&sequence, bytes[i], sizeof sequence);
      if (is_after(sequence, highest)) highest = sequence;
    }
    if (count <= 0) continue;
    atomic_fetch_add(&shared->received, (uint64_t)count);
    atomic_store(&shared->highest, highest);
    wake_sender(shared, highest);
  }
}

/* ---- send ---- */

struct sender {
  struct shared *shared;
  int flows[MAX_FLOWS];
  int flow_count;
  uint32_t window;
  uint32_t sequence;
  /* What is not under way any more: arrived, or given up. */
  uint32_t settled;
  uint64_t waited_ns;
  uint8_t bytes[SEND_BATCH][MAX_BYTES];
  struct iovec vectors[SEND_BATCH];
  struct mmsghdr messages[SEND_BATCH];
};

static void open_flows(struct sender *sender, const char *host, uint16_t port, int flows) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
    fprintf(stderr, "udp-rate: '%s' is no IPv4 address\n", host);
    exit(2);
  }
  for (int i = 0; i < flows; i++) {
    sender->flows[i] = socket(AF_INET, SOCK_DGRAM, 0);
    if (sender->flows[i] < 0) fail("socket %d", i);
    if (connect(sender->flows[i], (struct sockaddr *)&address, sizeof address) < 0) fail("connect to %s", host);
  }
  sender->flow_count = flows;
}

/* Half a window at least is sent at once after a wait: a wake-up for each packet would cost more than the packet. */
static void wait_for_room(struct sender *sender) {
  struct shared *shared = sender->shared;
  uint64_t start = now_ns();
  uint64_t end = start + STALL_MS * 1000000u;
  uint32_t awaited = sender->sequence - sender->window / 2;
  if (awaited == 0) awaited = 1;
  for (;;) {
    atomic_store(&shared->awaited, awaited);
    uint32_t highest = atomic_load(&shared->highest);
    uint64_t now = now_ns();
    if (!is_after(awaited, highest)) {
      sender->settled = highest;
      break;
    }
    if (now >= end) {
      sender->settled = sender->sequence;
      break;
    }
    struct timespec left = {.tv_nsec = (long)(end - now)};
    syscall(SYS_futex, &shared->awaited, FUTEX_WAIT, awaited, &left, NULL, 0);
  }
  atomic_store(&shared->awaited, 0);
  sender->waited_ns += now_ns() - start;
}

static void send_batch(struct sender *sender, int flow) {
  for (int i = 0; i < SEND_BATCH; i++) {
    uint32_t sequence = ++sender->sequence;
    memcpy(sender->bytes[i], &sequence, sizeof sequence);
  }
  /* A full device queue (ENOBUFS) loses packets, as a full queue anywhere does. */
  int sent = sendmmsg(flow, sender->messages, SEND_BATCH, 0);
  if (sent < 0 && errno != ENOBUFS && errno != ECONNREFUSED) fail("sendmmsg");
}

static bool is_full(struct sender *sender) {
  if (sender->window == 0) return false;
  uint32_t highest = atomic_load(&sender->shared->highest);
  if (is_after(highest, sender->settled)) sender->settled = highest;
  return sender->sequence - sender->settled + SEND_BATCH > sender->window;
}

static void send_until(struct sender *sender, uint64_t end) {
  int flow = 0;
  while (now_ns() < end) {
    if (is_full(sender)) wait_for_room(sender);
    send_batch(sender, sender->flows[flow]);
    flow = (flow + 1) % sender->flow_count;
  }
}

static void send_all(char **arguments) {
  static struct sender sender;
  sender.shared = map_shared(arguments[0]);
  uint16_t port = (uint16_t)number(arguments[2], "PORT", 1, 65535);
  int flows = (int)number(arguments[3], "FLOWS", 1, MAX_FLOWS);
  size_t length = (size_t)number(arguments[4], "BYTES", (long)sizeof(uint32_t), MAX_BYTES);
  sender.window = (uint32_t)number(arguments[5], "WINDOW", 0, 1 << 20);
  uint64_t warm_ns = (uint64_t)number(arguments[6], "WARM_MS", 0, 600000) * 1000000u;
  uint64_t run_ns = (uint64_t)number(arguments[7], "RUN_MS", 1, 600000) * 1000000u;
  open_flows(&sender, arguments[1], port, flows);
  for (int i = 0; i < SEND_BATCH; i++) {
    sender.vectors[i] = (struct iovec){sender.bytes[i], length};
    sender.messages[i].msg_hdr = (struct msghdr){.msg_iov = &sender.vectors[i], .msg_iovlen = 1};
  }

  send_until(&sender, now_ns() + warm_ns);
  uint64_t start = now_ns(), received = atomic_load(&sender.shared->received);
  uint32_t sequence = sender.sequence;
  sender.waited_ns = 0;
  send_until(&sender, start + run_ns);
  double seconds = (double)(now_ns() - start) / 1e9;
  printf("{\"sent\": %u, \"received\": %llu, \"seconds\": %.6f, \"waitedSeconds\": %.6f}\n", sender.sequence - sequence,
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
