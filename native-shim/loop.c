/*
 * Opening and closing a loop. Everything a turn relies on is checked here once: that the queues and
 * receive slots lie within the memory and do not overlap, and that the descriptors are ours.
 */
#include "loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Offsets are 32-bit integers in the queues. */
static const int64_t max_total_bytes = INT32_MAX;

void loop_free(struct loop *loop) {
  for (uint32_t i = 0; i < loop->device_count; i++) {
    struct device *device = &loop->devices[i];
    if (device->descriptor != NULL) registry_release(device->descriptor);
    free(device->messages);
    free(device->vectors);
  }
  if (loop->event != NULL) registry_release(loop->event);
  if (loop->memory != NULL) napi_delete_reference(loop->instance->env, loop->memory);
  if (loop->handle != 0) loop->instance->loops[loop->handle % MAX_LOOPS] = NULL;
  free(loop);
}

static size_t queue_bytes(const struct loop *loop) {
  return ((size_t)RECEIVE_LENGTH + (size_t)loop->receive_slots + 2 * (size_t)loop->send_capacity) * sizeof(int32_t);
}

static bool read_layout(const struct call *call, napi_value options, struct loop *loop) {
  int64_t total_bytes, slots_at, receive_slots, send_capacity, slot_bytes;
  if (!read_integer_property(call, options, "totalBytes", 1, max_total_bytes, &total_bytes) ||
      !read_integer_property(call, options, "slotsAt", 1, total_bytes, &slots_at) ||
      !read_integer_property(call, options, "receiveSlots", 1, 1024, &receive_slots) ||
      !read_integer_property(call, options, "sendCapacity", 1, 1 << 20, &send_capacity) ||
      !read_integer_property(call, options, "slotBytes", 64, 1 << 20, &slot_bytes)) {
    return false;
  }
  int64_t slots_bytes = (int64_t)loop->device_count * receive_slots * slot_bytes;
  if (slots_bytes > total_bytes - slots_at) {
    fail_argument(call, "%u devices with %lld slots of %lld bytes do not fit between slotsAt %lld and totalBytes %lld",
                  loop->device_count, (long long)receive_slots, (long long)slot_bytes, (long long)slots_at,
                  (long long)total_bytes);
    return false;
  }
  loop->total_bytes = (size_t)total_bytes;
  loop->slots_at = (size_t)slots_at;
  loop->receive_slots = (int32_t)receive_slots;
  loop->send_capacity = (int32_t)send_capacity;
  loop->slot_bytes = (size_t)slot_bytes;
  return true;
}

/* Whether the queue is aligned, ends before the slots and touches no queue of a device before it. */
static bool check_queue(const struct call *call, const struct loop *loop, uint32_t index, int64_t queue_at) {
  int64_t bytes = (int64_t)queue_bytes(loop);
  if (queue_at % (int64_t)sizeof(int32_t) != 0 || queue_at + bytes > (int64_t)loop->slots_at) {
    fail_argument(call, "queueAt of device %u must be a multiple of 4 and leave room for %lld bytes before slotsAt %zu, got %lld",
                  index, (long long)bytes, loop->slots_at, (long long)queue_at);
    return false;
  }
  for (uint32_t i = 0; i < index; i++) {
    int64_t other = (int64_t)loop->devices[i].queue_at;
    if (queue_at < other + bytes && other < queue_at + bytes) {
      fail_argument(call, "the queues of devices %u and %u overlap", i, index);
      return false;
    }
  }
  return true;
}

static bool read_device(const struct call *call, napi_value options, struct loop *loop, uint32_t index) {
  int64_t fd, read_offset, queue_at, send_protocol;
  char kind_name[8], what[32];
  snprintf(what, sizeof what, "fd of device %u", index);
  if (!read_integer_property(call, options, "fd", 0, INT32_MAX, &fd) ||
      !read_text_property(call, options, "kind", kind_name, sizeof kind_name) ||
      !read_integer_property(call, options, "readOffset", 0, 63, &read_offset) ||
      !read_integer_property(call, options, "queueAt", 0, max_total_bytes, &queue_at) ||
      !read_integer_property(call, options, "sendProtocol", 0, UINT16_MAX, &send_protocol) ||
      !check_queue(call, loop, index, queue_at)) {
    return false;
  }
  bool is_tun = strcmp(kind_name, "tun") == 0;
  if (!is_tun && strcmp(kind_name, "packet") != 0) {
    fail_argument(call, "kind of device %u must be \"tun\" or \"packet\", got \"%s\"", index, kind_name);
    return false;
  }
  struct device *device = &loop->devices[index];
  device->read_offset = (size_t)read_offset;
  device->queue_at = (size_t)queue_at;
  device->first_slot_at = loop->slots_at + index * (size_t)loop->receive_slots * loop->slot_bytes;
  device->send_protocol = (uint16_t)send_protocol;
  device->descriptor = registry_hold(call, fd, is_tun ? KIND_TUN : KIND_PACKET, what);
  return device->descriptor != NULL;
}

static bool read_devices(const struct call *call, napi_value devices, struct loop *loop) {
  for (uint32_t i = 0; i < loop->device_count; i++) {
    napi_value device;
    if (!succeeded(call, napi_get_element(call->env, devices, i, &device))) return false;
    if (!read_device(call, device, loop, i)) return false;
  }
  return true;
}

static bool prepare_messages(const struct call *call, struct loop *loop, struct device *device) {
  if (device->descriptor->kind != KIND_PACKET) return true;
  size_t count = (size_t)loop->receive_slots;
  device->messages = calloc(count, sizeof *device->messages);
  device->vectors = calloc(count, sizeof *device->vectors);
  if (device->messages == NULL || device->vectors == NULL) {
    fail(call, ENOMEM, "calloc", "%zu receive slots", count);
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    device->vectors[i].iov_base = loop->base + device->first_slot_at + i * loop->slot_bytes + device->read_offset;
    device->vectors[i].iov_len = loop->slot_bytes - device->read_offset;
    device->messages[i].msg_hdr.msg_iov = &device->vectors[i];
    device->messages[i].msg_hdr.msg_iovlen = 1;
  }
  return true;
}

/* Allocates the ArrayBuffer, zeroed, and keeps it from being collected. */
static bool allocate_memory(const struct call *call, struct loop *loop, napi_value *memory) {
  void *data = NULL;
  if (!succeeded(call, napi_create_arraybuffer(call->env, loop->total_bytes, &data, memory)) ||
      !succeeded(call, napi_create_reference(call->env, *memory, 1, &loop->memory))) {
    return false;
  }
  loop->base = data;
  if ((uintptr_t)data % sizeof(int32_t) == 0) return true;
  fail(call, EFAULT, "ArrayBuffer", "the memory is not aligned");
  return false;
}

static bool give_handle(const struct call *call, struct loop *loop) {
  struct instance *instance = call->instance;
  for (int tries = 0; tries < MAX_LOOPS; tries++) {
    instance->last_handle = instance->last_handle == INT32_MAX ? 1 : instance->last_handle + 1;
    struct loop **place = &instance->loops[instance->last_handle % MAX_LOOPS];
    if (*place != NULL) continue;
    *place = loop;
    loop->handle = instance->last_handle;
    return true;
  }
  fail(call, EMFILE, call->function, "%d loops are open in this thread", MAX_LOOPS);
  return false;
}

static bool build(const struct call *call, struct loop *loop, napi_value *result) {
  napi_value options = call->arguments[0], devices, memory, handle;
  int64_t event_fd;
  bool is_array = false;
  if (!read_property(call, options, "devices", &devices) ||
      !succeeded(call, napi_is_array(call->env, devices, &is_array)) ||
      (is_array && !succeeded(call, napi_get_array_length(call->env, devices, &loop->device_count)))) {
    return false;
  }
  if (loop->device_count < 1 || loop->device_count > MAX_DEVICES) {
    loop->device_count = 0;
    fail_argument(call, "devices must be an array of 1 to %d devices", MAX_DEVICES);
    return false;
  }
  if (!read_layout(call, options, loop) || !read_devices(call, devices, loop) ||
      !read_integer_property(call, options, "eventFd", 0, INT32_MAX, &event_fd)) {
    return false;
  }
  loop->event = registry_hold(call, event_fd, KIND_EVENT, "eventFd");
  if (loop->event == NULL || !allocate_memory(call, loop, &memory)) return false;
  for (uint32_t i = 0; i < loop->device_count; i++) {
    if (!prepare_messages(call, loop, &loop->devices[i])) return false;
  }
  return give_handle(call, loop) && succeeded(call, napi_create_int32(call->env, loop->handle, &handle)) &&
         succeeded(call, napi_create_object(call->env, result)) &&
         succeeded(call, napi_set_named_property(call->env, *result, "memory", memory)) &&
         succeeded(call, napi_set_named_property(call->env, *result, "handle", handle));
}

/* loopOpen({totalBytes, slotsAt, receiveSlots, sendCapacity, slotBytes, eventFd, devices}): {memory, handle} */
napi_value loop_open(napi_env env, napi_callback_info info) {
  struct call call;
  napi_value result;
  if (!call_begin(&call, env, info, "loopOpen", 1)) return NULL;
  struct loop *loop = calloc(1, sizeof *loop);
  if (loop == NULL) return fail(&call, ENOMEM, "calloc", "a loop");
  loop->instance = call.instance;
  if (build(&call, loop, &result)) return result;
  loop_free(loop);
  return NULL;
}

/* loopClose(handle): the descriptors can be closed from now on; the memory lives on as an ordinary ArrayBuffer. */
napi_value loop_close(napi_env env, napi_callback_info info) {
  struct call call;
  int64_t handle;
  if (!call_begin(&call, env, info, "loopClose", 1)) return NULL;
  if (!read_integer(&call, call.arguments[0], "handle", 1, INT32_MAX, &handle)) return NULL;
  struct loop *loop = call.instance->loops[handle % MAX_LOOPS];
  if (loop == NULL || loop->handle != handle) return fail(&call, EBADF, "loopClose", "loop %lld is not open", (long long)handle);
  loop_free(loop);
  return NULL;
}
