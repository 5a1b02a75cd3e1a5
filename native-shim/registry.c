/*
 * Which descriptors are ours, what they are, and who uses them.
 *
 * Descriptors are opened by the main thread and used by the loops of worker threads, so the registry is
 * the process's, under a mutex. A descriptor that a loop uses is not closed: its number could be given
 * to a file, and the loop would write packets into it. That is why the loop holds it, and why a close
 * meanwhile is refused. The last holder closes a descriptor whose environment has ended.
 *
 * A linear search over a fixed table: the calls are rare, and a loop keeps the pointer it was given
 * (entries do not move).
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/types.h>
#include <unistd.h>

/* 16 workers with 16 uplinks each are 256 packet sockets, 16 TUN queues and 17 event descriptors; as many again for LANs. */
enum { MAX_DESCRIPTORS = 2048 };
/* So that a crowd of sockets, which come and go, never takes the place of what packets go through. */
enum { MAX_SOCKETS = 1024 };

static struct descriptor descriptors[MAX_DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const kind_names[] = {
    [KIND_NONE] = "none of its own",
    [KIND_TUN] = "a TUN queue",
    [KIND_PACKET] = "a packet socket",
    [KIND_EVENT] = "an event",
    [KIND_PROGRAM] = "a program",
    [KIND_SOCKET] = "a device socket",
};

/* With the lock held. */
static struct descriptor *find(int64_t fd) {
  for (int i = 0; i < MAX_DESCRIPTORS; i++) {
    if (descriptors[i].kind != KIND_NONE && descriptors[i].fd == fd) return &descriptors[i];
  }
  return NULL;
}

static struct descriptor *find_free(enum kind kind) {
  int sockets = 0;
  for (int i = 0; kind == KIND_SOCKET && i < MAX_DESCRIPTORS; i++) sockets += descriptors[i].kind == KIND_SOCKET;
  if (sockets >= MAX_SOCKETS) return NULL;
  for (int i = 0; i < MAX_DESCRIPTORS; i++) {
    if (descriptors[i].kind == KIND_NONE) return &descriptors[i];
  }
  return NULL;
}

/* With the lock held. Linux has freed the number even when close reports an error, so it is never retried. */
static int forget(struct descriptor *descriptor) {
  int fd = descriptor->fd;
  descriptor->kind = KIND_NONE;
  descriptor->owner = NULL;
  return close(fd) == 0 || errno == EINTR ? 0 : errno;
}

napi_value registry_add(const struct call *call, int fd, enum kind kind, int ifindex, bool vnet_header) {
  napi_value number;
  pthread_mutex_lock(&lock);
  struct descriptor *descriptor = find_free(kind);
  /* An entry of this number is left from a descriptor that somebody closed behind our back. A loop may still use it: then nothing is safe. */
  struct descriptor *stale = find(fd);
  if (stale != NULL && stale->holders == 0) {
    stale->kind = KIND_NONE;
    descriptor = stale;
    stale = NULL;
  }
  if (descriptor != NULL && stale == NULL) {
    descriptor->fd = fd;
    descriptor->kind = kind;
    descriptor->owner = call->instance;
    descriptor->holders = 0;
    atomic_store(&descriptor->ifindex, ifindex);
    descriptor->vnet_header = vnet_header;
  }
  pthread_mutex_unlock(&lock);
  if (stale != NULL || descriptor == NULL) {
    close(fd);
    if (stale != NULL) return fail(call, EBUSY, "open", "descriptor %d was closed by somebody else while a loop uses it", fd);
    return fail(call, EMFILE, "open", "more than %d descriptors are open", kind == KIND_SOCKET ? MAX_SOCKETS : MAX_DESCRIPTORS);
  }
  if (!succeeded(call, napi_create_int32(call->env, fd, &number))) {
    pthread_mutex_lock(&lock);
    forget(descriptor);
    pthread_mutex_unlock(&lock);
    return NULL;
  }
  return number;
}

static bool refuse(const struct call *call, int64_t fd, enum kind wanted, enum kind found, const char *what) {
  fail(call, EBADF, call->function, "%s must be %s that this shim opened; descriptor %lld is %s", what,
       kind_names[wanted], (long long)fd, kind_names[found]);
  return false;
}

struct descriptor *registry_hold(const struct call *call, int64_t fd, enum kind kind, const char *what) {
  pthread_mutex_lock(&lock);
  struct descriptor *descriptor = find(fd);
  enum kind found = descriptor == NULL ? KIND_NONE : descriptor->kind;
  if (found == kind) descriptor->holders++;
  pthread_mutex_unlock(&lock);
  if (found == kind) return descriptor;
  refuse(call, fd, kind, found, what);
  return NULL;
}

void registry_release(struct descriptor *descriptor) {
  pthread_mutex_lock(&lock);
  descriptor->holders--;
  if (descriptor->holders == 0 && descriptor->owner == NULL) forget(descriptor);
  pthread_mutex_unlock(&lock);
}

bool registry_signal(const struct call *call, int64_t fd) {
  uint64_t one = 1;
  int error = 0;
  pthread_mutex_lock(&lock);
  struct descriptor *event = find(fd);
  enum kind found = event == NULL ? KIND_NONE : event->kind;
  /* EAGAIN: the counter is full, so the event is signalled already. */
  if (found == KIND_EVENT && write(event->fd, &one, sizeof one) < 0 && errno != EAGAIN) error = errno;
  pthread_mutex_unlock(&lock);
  if (found != KIND_EVENT) return refuse(call, fd, KIND_EVENT, found, "fd");
  if (error != 0) fail(call, error, "write eventfd", "fd %lld", (long long)fd);
  return error == 0;
}

bool registry_close(const struct call *call, int64_t fd) {
  int error = EBADF;
  pthread_mutex_lock(&lock);
  struct descriptor *descriptor = find(fd);
  if (descriptor != NULL) error = descriptor->holders > 0 ? EBUSY : forget(descriptor);
  pthread_mutex_unlock(&lock);
  if (error == 0) return true;
  if (descriptor == NULL) {
    fail(call, error, "close", "fd must be a descriptor that this shim opened, got %lld", (long long)fd);
  } else {
    fail(call, error, "close", error == EBUSY ? "descriptor %lld is used by a loop or a watch" : "descriptor %lld", (long long)fd);
  }
  return false;
}

bool registry_detach(const struct call *call, int64_t fd) {
  pthread_mutex_lock(&lock);
  struct descriptor *descriptor = find(fd);
  enum kind found = descriptor == NULL ? KIND_NONE : descriptor->kind;
  bool is_used = found == KIND_SOCKET && descriptor->holders > 0;
  if (found == KIND_SOCKET && !is_used) descriptor->kind = KIND_NONE;
  pthread_mutex_unlock(&lock);
  if (is_used) fail(call, EBUSY, call->function, "descriptor %lld is watched", (long long)fd);
  return found == KIND_SOCKET ? !is_used : refuse(call, fd, KIND_SOCKET, found, "fd");
}

/* With the lock held: an errno, or 0 once the new socket stands under the old number. */
static int replace(int64_t old_fd, int64_t new_fd, const char **problem) {
  struct descriptor *old = find(old_fd), *new = find(new_fd);
  *problem = "oldFd and newFd must be two different packet sockets that this shim opened";
  if (old == NULL || new == NULL || old->kind != KIND_PACKET || new->kind != KIND_PACKET) return EBADF;
  if (old == new) return EINVAL;
  *problem = "oldFd and newFd must both have vnet headers, or both not";
  if (old->vnet_header != new->vnet_header) return EINVAL;
  *problem = "newFd is used by a loop";
  if (new->holders > 0) return EBUSY;
  *problem = "the new socket could not take the old one's number";
  while (dup3(new->fd, old->fd, O_CLOEXEC) < 0) {
    if (errno != EINTR && errno != EBUSY) return errno;
  }
  atomic_store(&old->ifindex, atomic_load(&new->ifindex));
  forget(new);
  return 0;
}

bool registry_replace(const struct call *call, int64_t old_fd, int64_t new_fd) {
  const char *problem;
  pthread_mutex_lock(&lock);
  int error = replace(old_fd, new_fd, &problem);
  pthread_mutex_unlock(&lock);
  if (error == 0) return true;
  fail(call, error, "dup3", "%s (oldFd %lld, newFd %lld)", problem, (long long)old_fd, (long long)new_fd);
  return false;
}

void registry_abandon(struct instance *instance) {
  pthread_mutex_lock(&lock);
  for (int i = 0; i < MAX_DESCRIPTORS; i++) {
    struct descriptor *descriptor = &descriptors[i];
    if (descriptor->kind == KIND_NONE || descriptor->owner != instance) continue;
    descriptor->owner = NULL;
    if (descriptor->holders == 0) forget(descriptor);
  }
  pthread_mutex_unlock(&lock);
}
