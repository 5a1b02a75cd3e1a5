/*
 * The addon's entrance. Each environment (the main thread, every worker) gets an instance of its own;
 * it rides along as the data of every function, so there is no global to confuse two of them.
 */
#include "loop.h"
#include "shim.h"

#include <errno.h>
#include <stdlib.h>

/* Asynchronous, because libuv gives the memory of watches back in a later turn of the event loop. */
static void end_environment(napi_async_cleanup_hook_handle ending, void *data) {
  struct instance *instance = data;
  for (int i = 0; i < MAX_LOOPS; i++) {
    if (instance->loops[i] != NULL) loop_free(instance->loops[i]);
  }
  watches_abandon(instance);
  registry_abandon(instance);
  instance->ending = ending;
  instance_released(instance);
}

void instance_released(struct instance *instance) {
  if (instance->ending == NULL || instance->closing_watches > 0) return;
  napi_remove_async_cleanup_hook(instance->ending);
  free(instance);
}

bool call_begin(struct call *call, napi_env env, napi_callback_info info, const char *function, size_t count) {
  size_t given = MAX_ARGUMENTS;
  void *data = NULL;
  call->env = env;
  call->function = function;
  if (!succeeded(call, napi_get_cb_info(env, info, &given, call->arguments, NULL, &data))) return false;
  call->instance = data;
  if (given < count) {
    fail_argument(call, "expected %zu arguments, got %zu", count, given);
    return false;
  }
  return true;
}

static const struct {
  const char *name;
  napi_callback function;
} functions[] = {
    {"tunOpen", tun_open},         {"tunSteer", tun_steer},         {"programLoad", program_load},
    {"packetOpen", packet_open},   {"packetFanout", packet_fanout}, {"packetReplace", packet_replace},
    {"eventOpen", event_open},     {"eventSignal", event_signal},   {"close", descriptor_close},
    {"loopOpen", loop_open},       {"loopClose", loop_close},       {"turn", turn},
    {"scheduleBatch", schedule_batch},
    {"deviceSocketOpen", device_socket_open},
    {"socketConnect", socket_connect},
    {"socketConnection", socket_connection},
    {"socketMac", socket_mac},
    {"socketDetach", socket_detach},
    {"socketSend", socket_send},
    {"socketReceive", socket_receive},
    {"watchOpen", watch_open},
    {"watchClose", watch_close},
};

NAPI_MODULE_INIT() {
  struct call call = {.env = env, .function = "sluice shim"};
  struct instance *instance = calloc(1, sizeof *instance);
  if (instance == NULL) return fail(&call, ENOMEM, "calloc", "no memory for the addon");
  instance->env = env;
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    napi_value function;
    if (!succeeded(&call, napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function, instance,
                                               &function)) ||
        !succeeded(&call, napi_set_named_property(env, exports, functions[i].name, function))) {
      /* Functions that were made already keep the instance, so it stays; it owns nothing. */
      return NULL;
    }
  }
  if (!succeeded(&call, napi_add_async_cleanup_hook(env, end_environment, instance, NULL))) return NULL;
  return exports;
}
