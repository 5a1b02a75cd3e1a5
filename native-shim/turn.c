/*
 * One turn of a loop, in this order:
 *
 *   1. flush  what the data plane queued goes out, or is dropped and counted (flush.c)
 *   2. fill   what is there already comes in, without waiting (fill.c)
 *   3. wait   when nothing came: for a packet, the event or the timeout; then fill once more (wait.c)
 *
 * Sending comes first because it frees the slots that filling overwrites. Filling comes before waiting
 * because a busy loop then pays no poll at all.
 */
#include "loop.h"

#include <errno.h>

enum { MAX_TIMEOUT_MS = 60000 };

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
