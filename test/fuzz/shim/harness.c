/*
 * The shim's loop with a hostile JavaScript and a hostile kernel: whatever the arguments of loopOpen and turn, the words in
 * the queues and the results of the system calls are, nothing beyond the memory is touched, the kernel is told of
 * nothing but the packet area, and of the queues only those words change that are the shim's to write.
 *
 *     input:  layout and devices, then turns: [words that JavaScript writes][results of the calls]
 *
 * It is linked with the sources of the shim's loop and arguments as they are, whose system calls and Node-API are those
 * of system.c and node_api.c: scripts/fuzz shim.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TURNS = 6, MOST_QUEUE_BYTES = 1 << 20 };

struct world world;
static struct instance instance;
static struct descriptor descriptors[4] = {
    {.fd = 10, .kind = KIND_TUN}, {.fd = 11, .kind = KIND_PACKET}, {.fd = 12, .kind = KIND_PACKET}, {.fd = 13, .kind = KIND_EVENT}};
static struct value *arguments[2];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static struct value *options_of_input(void);
static void check_layout(const struct loop *loop);
static void turn_once(struct loop *loop, double handle);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  world = (struct world){.at = data, .end = data + size};
  arguments[0] = options_of_input();
  struct value *opened = (struct value *)loop_open(NULL, NULL);
  if (take_exception() != (opened == NULL)) abort();
  if (opened != NULL) {
    struct loop *loop = NULL;
    for (int i = 0; i < MAX_LOOPS; i++) loop = instance.loops[i] != NULL ? instance.loops[i] : loop;
    check_layout(loop);
    for (int turns = 0; turns < MOST_TURNS && (turns == 0 || world.at < world.end); turns++) turn_once(loop, loop->handle);
    arguments[0] = value_new(napi_number);
    arguments[0]->number = opened->properties[1].value->number;
    loop_close(NULL, NULL);
    if (take_exception()) abort();
  }
  for (int i = 0; i < 4; i++) {
    if (descriptors[i].holders != 0) abort();
  }
  values_reset();
  return 0;
}

/* ---- the input ---- */

uint8_t take8(void) { return world.at < world.end ? *world.at++ : 0; }

uint32_t take32(void) {
  uint32_t word = 0;
  for (int i = 0; i < 4; i++) word = (word << 8) | take8();
  return word;
}

/* A number for an argument: mostly what makes sense, now and then near it, or anything. */
static double number_near(double usual) {
  uint8_t choice = take8();
  if (choice < 200) return usual;
  if (choice < 220) return usual + (int8_t)take8();
  if (choice < 240) return (int32_t)take32();
  if (choice < 250) return usual + take8() / 256.0;
  uint64_t bits = ((uint64_t)take32() << 32) | take32();
  double any;
  memcpy(&any, &bits, sizeof any);
  return any;
}

static void set(struct value *object, const char *name, struct value *value) {
  napi_set_named_property(NULL, (napi_value)object, name, (napi_value)value);
}

static void set_number(struct value *object, const char *name, double usual) {
  struct value *value = value_new(take8() == 255 ? napi_undefined : napi_number);
  value->number = number_near(usual);
  set(object, name, value);
}

static struct value *text_of_input(const char *usual) {
  struct value *text = value_new(napi_string);
  uint8_t choice = take8();
  text->length = choice < 240 ? strlen(usual) : choice - 240;
  memset(text->text, 'x', sizeof text->text);
  if (choice < 240) memcpy(text->text, usual, text->length);
  if (choice == 255) text->text[2] = 0;
  return text;
}

static struct value *options_of_input(void) {
  struct value *options = value_new(napi_object), *devices = value_new(napi_object);
  unsigned count = 1 + take8() % 3, slots = 1 + take8() % 40, capacity = 1 + take8();
  /* Now and then slots so large that a turn ends before it has filled them all. */
  unsigned slot_bytes = take8() < 250 ? 64 + take8() : 20000;
  unsigned queue_bytes = (RECEIVE_LENGTH + slots + 2 * capacity) * 4, slots_at = count * queue_bytes;
  set_number(options, "totalBytes", slots_at + count * slots * slot_bytes + take8());
  set_number(options, "slotsAt", slots_at);
  set_number(options, "receiveSlots", slots);
  set_number(options, "sendCapacity", capacity);
  set_number(options, "slotBytes", slot_bytes);
  set_number(options, "eventFd", 13);
  devices->is_array = take8() != 255;
  uint8_t length = take8();
  devices->length = length < 240 ? count : length - 240;
  for (unsigned i = 0; i < count; i++) {
    struct value *device = value_new(napi_object);
    unsigned fd = 10 + take8() % 3;
    set_number(device, "fd", fd);
    set(device, "kind", text_of_input(fd == 10 ? "tun" : "packet"));
    set_number(device, "readOffset", take8() % 2 == 0 ? 0 : 14);
    set_number(device, "queueAt", i * queue_bytes);
    set_number(device, "sendProtocol", take8() % 2 == 0 ? 0 : 0x800);
    devices->properties[devices->property_count++].value = device;
  }
  set(options, "devices", devices);
  return options;
}

/* ---- a turn ---- */

/* JavaScript writes: a few words anywhere before the slots, mostly counts and entries that make sense. */
static void scribble(struct loop *loop) {
  for (unsigned left = take8() % 24; left > 0; left--) {
    const struct device *device = &loop->devices[take8() % loop->device_count];
    int32_t *queue = queue_of(loop, device), *starts = queue + RECEIVE_LENGTH + loop->receive_slots;
    uint32_t entry = take8() % (uint32_t)loop->send_capacity;
    switch (take8() % 5) {
      case 0: queue[SEND_COUNT] = take8() % (loop->send_capacity + 1); break;
      case 1: queue[SEND_COUNT] = (int32_t)take32(); break;
      case 2:
        starts[entry] = (int32_t)(loop->slots_at + take32() % (loop->total_bytes - loop->slots_at + 1));
        starts[loop->send_capacity + (int32_t)entry] = take8();
        break;
      case 3:
        /* At the edges: a byte or two more or less than there is. */
        starts[entry] = (int32_t)(take8() % 2 == 0 ? loop->slots_at : loop->total_bytes) + take8() % 5 - 2;
        starts[loop->send_capacity + (int32_t)entry] = take8() % 5 - 1;
        break;
      default:
        starts[entry] = (int32_t)take32();
        starts[loop->send_capacity + (int32_t)entry] = (int32_t)take32();
    }
  }
}

/* Whether a word at this byte is one that a turn writes. */
static bool is_written(const struct loop *loop, size_t at) {
  for (uint32_t i = 0; i < loop->device_count; i++) {
    size_t queue_at = loop->devices[i].queue_at;
    size_t end = queue_at + (RECEIVE_LENGTH + (size_t)loop->receive_slots) * sizeof(int32_t);
    if (at >= queue_at && at < end) return true;
  }
  return false;
}

static void turn_once(struct loop *loop, double handle) {
  static uint8_t before[MOST_QUEUE_BYTES];
  scribble(loop);
  world.slots_at = loop->slots_at;
  size_t compared = loop->slots_at < MOST_QUEUE_BYTES ? loop->slots_at : MOST_QUEUE_BYTES;
  memcpy(before, loop->base, compared);
  world.is_detached = take8() == 255;
  for (int i = 0; i < 2; i++) arguments[i] = value_new(napi_number);
  arguments[0]->number = number_near(handle);
  arguments[1]->number = number_near(take8());
  struct value *result = (struct value *)turn(NULL, NULL);
  if (take_exception() != (result == NULL)) abort();

  for (size_t at = 0; at < compared; at++) {
    if (before[at] != loop->base[at] && !is_written(loop, at)) {
      fprintf(stderr, "the byte at %zu is not the shim's to write\n", at);
      abort();
    }
  }
  int32_t received = 0;
  for (uint32_t i = 0; i < loop->device_count; i++) {
    const int32_t *queue = queue_of(loop, &loop->devices[i]);
    if (result == NULL) break;
    if (queue[RECEIVE_COUNT] < 0 || queue[RECEIVE_COUNT] > loop->receive_slots || queue[SEND_COUNT] != 0) abort();
    received += queue[RECEIVE_COUNT];
    for (int32_t slot = 0; slot < queue[RECEIVE_COUNT]; slot++) {
      int32_t length = queue[RECEIVE_LENGTH + slot];
      size_t room = loop->slot_bytes - loop->devices[i].read_offset;
      /* What fills a slot of the TUN's may have been cut. */
      if (loop->devices[i].descriptor->kind == KIND_TUN) room--;
      if (length < 0 || (size_t)length > room) abort();
    }
  }
  if (result != NULL && (result->number != received || world.is_detached)) abort();
}

/* What turns rely on: queues that lie before the slots and apart from each other, slots that lie within the memory. */
static void check_layout(const struct loop *loop) {
  size_t bytes = (RECEIVE_LENGTH + (size_t)loop->receive_slots + 2 * (size_t)loop->send_capacity) * sizeof(int32_t);
  for (uint32_t i = 0; i < loop->device_count; i++) {
    const struct device *device = &loop->devices[i];
    size_t slots_end = device->first_slot_at + (size_t)loop->receive_slots * loop->slot_bytes;
    if (device->queue_at % sizeof(int32_t) != 0 || device->queue_at + bytes > loop->slots_at) abort();
    if (device->first_slot_at < loop->slots_at || slots_end > loop->total_bytes) abort();
    for (uint32_t other = 0; other < i; other++) {
      size_t from = loop->devices[other].queue_at;
      if (device->queue_at < from + bytes && from < device->queue_at + bytes) abort();
    }
  }
}

/* ---- what the rest of the shim gives the loop ---- */

bool call_begin(struct call *call, napi_env env, napi_callback_info info, const char *function, size_t count) {
  (void)info;
  *call = (struct call){.env = env, .function = function, .instance = &instance};
  for (size_t i = 0; i < count; i++) call->arguments[i] = (napi_value)arguments[i];
  return true;
}

struct descriptor *registry_hold(const struct call *call, int64_t fd, enum kind kind, const char *what) {
  for (int i = 0; i < 4; i++) {
    if (descriptors[i].fd != fd || descriptors[i].kind != kind) continue;
    descriptors[i].holders++;
    return &descriptors[i];
  }
  fail_argument(call, "%s must be another, got %lld", what, (long long)fd);
  return NULL;
}

void registry_release(struct descriptor *descriptor) { descriptor->holders--; }
