/*
 * Connections per second: connect, the server closes, the client closes.
 *
 *     connect-rate serve PORT PROCESSES                                           until SIGTERM
 *     connect-rate connect ADDRESS ADDRESSES PORT PROCESSES WAITING WARM_MS RUN_MS
 *
 * Every process of the client keeps WAITING connections under way, over ADDRESSES addresses from
 * ADDRESS on, so that neither its own ports nor the server's waiting states (TIME_WAIT is the server's,
 * because it closes first, as HTTP/1.0 does) are what runs out. Prints {"succeeded", "failed", "stalled",
 * "seconds"} of the time after the warm-up. Failed: refused, reset or older than GIVE_UP_MS. Stalled: took
 * longer than STALL_MS and so had a packet lost, since the first retransmission comes after a second.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PROCESSES = 64, MAX_WAITING = 4096, EVENTS = 256, BACKLOG = 4096, GIVE_UP_MS = 3000, STALL_MS = 900 };

static _Noreturn void fail(const char *format, ...) {
  int error = errno;
  va_list arguments;
  va_start(arguments, format);
  fputs("connect-rate: ", stderr);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, ": %s\n", strerror(error));
  va_end(arguments);
  exit(1);
}

static uint64_t now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000u + (uint64_t)time.tv_nsec / 1000000u;
}

static long number(const char *text, const char *what, long least, long most) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value < least || value > most) {
    fprintf(stderr, "connect-rate: %s must be from %ld to %ld, not '%s'\n", what, least, most, text);
    exit(2);
  }
  return value;
}

/* Starts a process that ends with this one. Returns true in it. */
static bool start_child(void) {
  pid_t parent = getpid();
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child > 0) return false;
  if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0) fail("PR_SET_PDEATHSIG");
  if (getppid() != parent) exit(1);
  return true;
}

/* ---- serve ---- */

static int listen_on(uint16_t port) {
  int on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) fail("socket");
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) fail("SO_REUSEADDR");
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) fail("SO_REUSEPORT");
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("bind to port %u", port);
  if (listen(fd, BACKLOG) < 0) fail("listen");
  return fd;
}

static _Noreturn void accept_for_ever(int listener) {
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd >= 0) close(fd);
    else if (errno != ECONNABORTED && errno != EINTR) fail("accept");
  }
}

static _Noreturn void serve(uint16_t port, int processes) {
  int listeners[MAX_PROCESSES];
  for (int i = 0; i < processes; i++) listeners[i] = listen_on(port);
  puts("serving");
  fflush(stdout);
  for (int i = 1; i < processes; i++) {
    if (start_child()) accept_for_ever(listeners[i]);
  }
  accept_for_ever(listeners[0]);
}

/* ---- connect ---- */

struct counts {
  uint64_t succeeded, failed, stalled;
};

struct connection {
  int fd;
  uint64_t since_ms;
};

struct client {
  struct counts counts;
  struct connection connections[MAX_WAITING];
  int waiting;
  int epoll;
  uint32_t first_address;
  uint32_t addresses;
  uint32_t next;
  uint16_t port;
};

static void open_connection(struct client *client, int index) {
  struct connection *connection = &client->connections[index];
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(client->port)};
  address.sin_addr.s_addr = htonl(client->first_address + client->next++ % client->addresses);
  connection->since_ms = now_ms();
  connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (connection->fd < 0) fail("socket");
  if (connect(connection->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) fail("connect");
  struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u32 = (uint32_t)index};
  if (epoll_ctl(client->epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0) fail("epoll_ctl");
}

static void finish(struct client *client, int index, bool succeeded, uint64_t now) {
  struct connection *connection = &client->connections[index];
  if (succeeded) client->counts.succeeded++;
  else client->counts.failed++;
  if (succeeded && now > connection->since_ms + STALL_MS) client->counts.stalled++;
  close(connection->fd);
  open_connection(client, index);
}

static void give_up_old(struct client *client, uint64_t now) {
  for (int i = 0; i < client->waiting; i++) {
    /* One that was opened after `now` was read has a later time. */
    if (now > client->connections[i].since_ms + GIVE_UP_MS) finish(client, i, false, now);
  }
}

static void connect_until(struct client *client, uint64_t end) {
  struct epoll_event events[EVENTS];
  uint64_t looked_ms = now_ms();
  for (uint64_t now = looked_ms; now < end; now = now_ms()) {
    int ready = epoll_wait(client->epoll, events, EVENTS, 10);
    if (ready < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < ready; i++) {
      int index = (int)events[i].data.u32;
      char byte;
      /* The server's close arrives as an end of file; anything else is a failure. */
      finish(client, index, read(client->connections[index].fd, &byte, 1) == 0, now);
    }
    if (now - looked_ms > 100) give_up_old(client, looked_ms = now);
  }
}

static void run_client(struct client *client, uint64_t start, uint64_t end, struct counts *result) {
  client->epoll = epoll_create1(0);
  if (client->epoll < 0) fail("epoll_create1");
  for (int i = 0; i < client->waiting; i++) open_connection(client, i);
  connect_until(client, start);
  client->counts = (struct counts){0};
  connect_until(client, end);
  *result = client->counts;
}

static int connect_all(char **arguments) {
  static struct client client;
  struct in_addr first;
  if (inet_pton(AF_INET, arguments[0], &first) != 1) {
    fprintf(stderr, "connect-rate: '%s' is no IPv4 address\n", arguments[0]);
    return 2;
  }
  client.first_address = ntohl(first.s_addr);
  client.addresses = (uint32_t)number(arguments[1], "ADDRESSES", 1, 1 << 16);
  client.port = (uint16_t)number(arguments[2], "PORT", 1, 65535);
  int processes = (int)number(arguments[3], "PROCESSES", 1, MAX_PROCESSES);
  client.waiting = (int)number(arguments[4], "WAITING", 1, MAX_WAITING);
  uint64_t start = now_ms() + (uint64_t)number(arguments[5], "WARM_MS", 0, 600000);
  uint64_t run_ms = (uint64_t)number(arguments[6], "RUN_MS", 1, 600000);

  struct counts *results = mmap(NULL, sizeof *results * MAX_PROCESSES, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (results == MAP_FAILED) fail("mmap");
  for (int i = 0; i < processes; i++) {
    /* Each begins elsewhere in the addresses. */
    client.next = client.addresses / (uint32_t)processes * (uint32_t)i;
    if (start_child()) {
      run_client(&client, start, start + run_ms, &results[i]);
      exit(0);
    }
  }
  struct counts total = {0};
  for (int i = 0, status; i < processes; i++) {
    if (wait(&status) < 0) fail("wait");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return 1;
  }
  for (int i = 0; i < processes; i++) {
    total.succeeded += results[i].succeeded;
    total.failed += results[i].failed;
    total.stalled += results[i].stalled;
  }
  printf("{\"succeeded\": %llu, \"failed\": %llu, \"stalled\": %llu, \"seconds\": %.3f}\n",
         (unsigned long long)total.succeeded, (unsigned long long)total.failed, (unsigned long long)total.stalled,
         (double)run_ms / 1e3);
  return 0;
}

int main(int count, char **arguments) {
  if (count == 4 && strcmp(arguments[1], "serve") == 0) {
    serve((uint16_t)number(arguments[2], "PORT", 1, 65535), (int)number(arguments[3], "PROCESSES", 1, MAX_PROCESSES));
  }
  if (count == 9 && strcmp(arguments[1], "connect") == 0) return connect_all(&arguments[2]);
  fputs("usage: connect-rate serve PORT PROCESSES\n"
        "       connect-rate connect ADDRESS ADDRESSES PORT PROCESSES WAITING WARM_MS RUN_MS\n", stderr);
  return 2;
}
