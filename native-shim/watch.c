/*
 * Watches: Node's event loop tells JavaScript when a socket of ours can be read or written (libuv's uv_poll).
 *
 * A watch holds its descriptor, which therefore cannot be closed before it. Closing a watch takes the
 * descriptor out of the loop at once; the handle's memory is libuv's until a later turn of the loop, and an
 * environment does not end before that.
 */
#include "libuv.h"
#include "shim.h"

#include <errno.h>
#include <stdlib.h>

struct watch {
  struct instance *instance;
  struct descriptor *descriptor;
  napi_ref callback;
  int events;
  bool is_over;
  uv_poll_t *poll;
  struct watch *next;
};

static void on_closed(uv_handle_t *poll) {
  struct watch *watch = uv_handle_get_data(poll);
  struct instance *instance = watch->instance;
  free(watch);
  free(poll);
  instance->closing_watches--;
  instance_released(instance);
}

/* Out of the list and out of the loop. */
static void end(struct watch *watch) {
  struct watch **at = &watch->instance->watches;
  while (*at != watch) at = &(*at)->next;
  *at = watch->next;
  watch->is_over = true;
  watch->instance->closing_watches++;
  uv_close((uv_handle_t *)watch->poll, on_closed);
  registry_release(watch->descriptor);
  napi_delete_reference(watch->instance->env, watch->callback);
}

void watches_abandon(struct instance *instance) {
  while (instance->watches != NULL) end(instance->watches);
}

/* What the callback throws is nobody's to catch: it goes the way of every exception in an event's handler. */
static void call_back(napi_env env, napi_ref reference) {
  napi_value callback, receiver, exception;
  if (napi_get_reference_value(env, reference, &callback) != napi_ok || napi_get_global(env, &receiver) != napi_ok) return;
  if (napi_make_callback(env, NULL, receiver, callback, 0, NULL, NULL) != napi_pending_exception) return;
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
}

/*
 * With an error of the socket, too: whoever reads, writes or asks it next is told. libuv has stopped polling then, and goes on only
 * because a callback that finds the error taken already, by a send in between, would be deaf ever after.
 */
static void on_event(uv_poll_t *poll, int status, int events) {
  struct watch *watch = uv_handle_get_data((uv_handle_t *)poll);
  napi_env env = watch->instance->env;
  napi_handle_scope scope;
  (void)events;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  /* It may close the watch, and does not free it: that is the loop's next turn. */
  call_back(env, watch->callback);
  napi_close_handle_scope(env, scope);
  if (status < 0 && !watch->is_over) uv_poll_start(poll, watch->events, on_event);
}

static struct watch *find(const struct instance *instance, int64_t fd) {
  struct watch *watch = instance->watches;
  while (watch != NULL && watch->descriptor->fd != fd) watch = watch->next;
  return watch;
}

/* A watch that libuv knows already, but that does not poll yet; NULL with an exception pending. */
static struct watch *create(const struct call *call, struct descriptor *descriptor, int events) {
  uv_loop_t *loop;
  struct watch *watch = calloc(1, sizeof *watch);
  uv_poll_t *poll = calloc(1, uv_handle_size(UV_POLL));
  if (watch == NULL || poll == NULL) {
    fail(call, ENOMEM, "calloc", "no memory for a watch");
  } else if (succeeded(call, napi_get_uv_event_loop(call->env, &loop)) &&
             succeeded(call, napi_create_reference(call->env, call->arguments[2], 1, &watch->callback))) {
    int result = uv_poll_init(loop, poll, descriptor->fd);
    if (result == 0) {
      uv_handle_set_data((uv_handle_t *)poll, watch);
      *watch = (struct watch){.instance = call->instance, .descriptor = descriptor, .callback = watch->callback,
                              .events = events, .poll = poll, .next = call->instance->watches};
      call->instance->watches = watch;
      return watch;
    }
    napi_delete_reference(call->env, watch->callback);
    fail(call, -result, "uv_poll_init", "descriptor %d", descriptor->fd);
  }
  free(watch);
  free(poll);
  return NULL;
}

/* watchOpen(fd, events, callback) */
napi_value watch_open(napi_env env, napi_callback_info info) {
  struct call call;
  int64_t fd, events;
  napi_valuetype type;
  if (!call_begin(&call, env, info, "watchOpen", 3)) return NULL;
  if (!read_integer(&call, call.arguments[0], "fd", 0, INT32_MAX, &fd) ||
      !read_integer(&call, call.arguments[1], "events", UV_READABLE, UV_WRITABLE, &events) ||
      !succeeded(&call, napi_typeof(env, call.arguments[2], &type))) {
    return NULL;
  }
  if (type != napi_function) return fail_argument(&call, "callback must be a function");
  if (find(call.instance, fd) != NULL) return fail(&call, EBUSY, "watchOpen", "descriptor %lld is watched already", (long long)fd);
  struct descriptor *descriptor = registry_hold(&call, fd, KIND_SOCKET, "fd");
  if (descriptor == NULL) return NULL;
  struct watch *watch = create(&call, descriptor, (int)events);
  if (watch == NULL) {
    registry_release(descriptor);
    return NULL;
  }
  int result = uv_poll_start(watch->poll, (int)events, on_event);
  if (result == 0) return NULL;
  end(watch);
  return fail(&call, -result, "uv_poll_start", "descriptor %lld", (long long)fd);
}

/* watchClose(fd): the callback is not called any more. */
napi_value watch_close(napi_env env, napi_callback_info info) {
  struct call call;
  int64_t fd;
  if (!call_begin(&call, env, info, "watchClose", 1)) return NULL;
  if (!read_integer(&call, call.arguments[0], "fd", 0, INT32_MAX, &fd)) return NULL;
  struct watch *watch = find(call.instance, fd);
  if (watch == NULL) return fail(&call, EBADF, "watchClose", "this thread watches no descriptor %lld", (long long)fd);
  end(watch);
  return NULL;
}
