/* What the three files of the shim's harness share. */
#ifndef SLUICE_FUZZ_HARNESS_H
#define SLUICE_FUZZ_HARNESS_H

#include "../../../native-shim/loop.h"

enum { MOST_PROPERTIES = 40 };

struct property {
  const char *name;
  struct value *value;
};

/* A value of JavaScript's. */
struct value {
  napi_valuetype type;
  double number;
  bool is_array;
  /* Of text, an array or an ArrayBuffer. */
  size_t length;
  char text[16];
  uint8_t *bytes;
  unsigned property_count;
  struct property properties[MOST_PROPERTIES];
};

/* What the input decides, and what the shim was given. */
struct world {
  const uint8_t *at, *end;
  struct value *memory;
  bool is_detached;
  /* Bounds of the packet area: nothing but this may be given to a system call. */
  size_t slots_at;
  int64_t clock_ns;
};

extern struct world world;

/* The next byte, or four, of the input; 0 when it is used up. */
uint8_t take8(void);
uint32_t take32(void);

struct value *value_new(napi_valuetype type);
/* Forgets all values. */
void values_reset(void);
/* Whether the shim has thrown since last asked. */
bool take_exception(void);

#endif
