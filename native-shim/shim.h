/*
 * The native shim: system calls that Node has no words for, and one loop call that does a whole turn
 * of packet work. It knows no protocol. What it promises to its callers:
 *
 *   - Every number, length, offset and descriptor that comes from JavaScript is checked before use. A
 *     wrong one gives an Error with `code`, `syscall` and a message that names the argument.
 *   - Only descriptors that the shim itself opened are used, and only as what they are (registry.c).
 *   - Nothing outlives its owner: the cleanup hook of an environment closes its loops and descriptors.
 *
 * addon.c      functions, environments, loop handles     tun.c             TUN devices, eBPF programs
 * arguments.c  reading what JavaScript passed            packet.c          packet sockets
 * failure.c    errno to Error                            loop.c            packet memory bound to devices
 * registry.c   which descriptors are ours                turn.c            a turn: flush.c, fill.c, wait.c
 * thread.c     how a thread is scheduled                 device-socket.c   sockets of one interface: socket-io.c
 *                                                        watch.c           ... in Node's event loop: libuv.h
 */
#ifndef SLUICE_SHIM_H
#define SLUICE_SHIM_H

#define NAPI_VERSION 8

#include <node_api.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- addon.c ---- */

enum { MAX_LOOPS = 64 };

struct loop;
struct watch;

/* One per environment: the main thread and every worker have their own. */
struct instance {
  napi_env env;
  struct loop *loops[MAX_LOOPS];
  int32_t last_handle;
  struct watch *watches;
  /* Watches that libuv has not given back yet. */
  int closing_watches;
  /* Not NULL once the environment ends: it waits for this. */
  napi_async_cleanup_hook_handle ending;
};

/* Frees the instance of an environment that ends, when nothing is left that refers to it. */
void instance_released(struct instance *instance);

enum { MAX_ARGUMENTS = 4 };

/* One call from JavaScript, on its way through the argument checks. */
struct call {
  napi_env env;
  const char *function;
  struct instance *instance;
  napi_value arguments[MAX_ARGUMENTS];
};

/* Fetches the arguments; false when there are fewer than `count` (an exception is then pending). */
bool call_begin(struct call *call, napi_env env, napi_callback_info info, const char *function, size_t count);

/* ---- failure.c ---- */

/* Throw an Error with `code` and `syscall`. They return NULL, what a failed function has to return. */
napi_value fail(const struct call *call, int error, const char *system_call, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* For an argument that is wrong: code EINVAL, and the function's own name as `syscall`. */
napi_value fail_argument(const struct call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Turns the status of a Node-API call into an exception, unless one is pending. */
bool succeeded(const struct call *call, napi_status status);

/* ---- arguments.c: each returns false with an exception pending ---- */

/* A whole number from `least` to `most`: no fraction, no NaN, nothing wrapped to 32 bits. */
bool read_integer(const struct call *call, napi_value value, const char *what, int64_t least, int64_t most, int64_t *out);
bool read_integer_property(const struct call *call, napi_value object, const char *name, int64_t least, int64_t most,
                           int64_t *out);
bool read_boolean_property(const struct call *call, napi_value object, const char *name, bool *out);
/* Copies the text and ends it with NUL; it has 1 to `capacity` - 1 bytes. */
bool read_text(const struct call *call, napi_value value, const char *what, char *out, size_t capacity);
bool read_text_property(const struct call *call, napi_value object, const char *name, char *out, size_t capacity);
bool read_property(const struct call *call, napi_value object, const char *name, napi_value *out);
bool is_nullish(const struct call *call, napi_value value);
/*
 * The bytes of a Uint8Array that holds 1 to `most` records of `record_bytes`. The pointer is good only
 * until JavaScript runs again, so read everything else first (a property may be a getter).
 */
bool read_records(const struct call *call, napi_value value, const char *what, size_t record_bytes, size_t most,
                  void **records, size_t *count);

/* ---- registry.c ---- */

enum kind { KIND_NONE, KIND_TUN, KIND_PACKET, KIND_EVENT, KIND_PROGRAM, KIND_SOCKET };

struct descriptor {
  int fd;
  enum kind kind;
  /* NULL once its environment is gone: the last holder closes it. */
  struct instance *owner;
  /* Loops and calls that use it now. It cannot be closed meanwhile. */
  int holders;
  /* Packet sockets: the interface it is bound to (changed by packetReplace while loops run), and whether its packets have vnet headers. */
  _Atomic int ifindex;
  bool vnet_header;
};

/* Takes ownership of `fd`; on failure throws and closes it. Returns the number for JavaScript. */
napi_value registry_add(const struct call *call, int fd, enum kind kind, int ifindex, bool vnet_header);
/* The descriptor, kept from being closed until released; NULL with an exception pending. */
struct descriptor *registry_hold(const struct call *call, int64_t fd, enum kind kind, const char *what);
void registry_release(struct descriptor *descriptor);
/* Signals an event without holding it: a close by another thread at this moment must not find it in use. */
bool registry_signal(const struct call *call, int64_t fd);
bool registry_close(const struct call *call, int64_t fd);
/* Gives a socket away: it stays open, and whoever has the number now closes it. */
bool registry_detach(const struct call *call, int64_t fd);
bool registry_replace(const struct call *call, int64_t old_fd, int64_t new_fd);
/* The environment ends: closes what it opened, or leaves that to the last holder. */
void registry_abandon(struct instance *instance);

/* ---- watch.c ---- */

/* The environment ends: closes its watches. */
void watches_abandon(struct instance *instance);

/* ---- the functions JavaScript sees ---- */

napi_value tun_open(napi_env env, napi_callback_info info);
napi_value tun_steer(napi_env env, napi_callback_info info);
napi_value program_load(napi_env env, napi_callback_info info);
napi_value packet_open(napi_env env, napi_callback_info info);
napi_value packet_fanout(napi_env env, napi_callback_info info);
napi_value packet_replace(napi_env env, napi_callback_info info);
napi_value event_open(napi_env env, napi_callback_info info);
napi_value event_signal(napi_env env, napi_callback_info info);
napi_value descriptor_close(napi_env env, napi_callback_info info);
napi_value loop_open(napi_env env, napi_callback_info info);
napi_value loop_close(napi_env env, napi_callback_info info);
napi_value turn(napi_env env, napi_callback_info info);
napi_value schedule_batch(napi_env env, napi_callback_info info);
napi_value device_socket_open(napi_env env, napi_callback_info info);
napi_value socket_connect(napi_env env, napi_callback_info info);
napi_value socket_connection(napi_env env, napi_callback_info info);
napi_value socket_mac(napi_env env, napi_callback_info info);
napi_value socket_detach(napi_env env, napi_callback_info info);
napi_value socket_send(napi_env env, napi_callback_info info);
napi_value socket_receive(napi_env env, napi_callback_info info);
napi_value watch_open(napi_env env, napi_callback_info info);
napi_value watch_close(napi_env env, napi_callback_info info);

#endif
