/*
 * As much of Node-API as the shim's loop asks for, over plain structs: values that the harness makes, or that the shim
 * makes and nobody reads. All live in one arena, which the next input uses again; ArrayBuffers are allocated to
 * the byte, so that AddressSanitizer sees what goes beyond them.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

/* Larger ArrayBuffers are refused, as V8 refuses what the machine has no memory for. */
enum { MOST_VALUES = 4096, MOST_BUFFER_BYTES = 8 << 20 };

static struct value arena[MOST_VALUES];
static unsigned used;
static bool pending;

void values_reset(void) {
  for (unsigned i = 0; i < used; i++) free(arena[i].bytes);
  used = 0;
  pending = false;
}

struct value *value_new(napi_valuetype type) {
  if (used == MOST_VALUES) abort();
  arena[used] = (struct value){.type = type};
  return &arena[used++];
}

bool take_exception(void) {
  bool was = pending;
  pending = false;
  return was;
}

static struct value *of(napi_value value) { return (struct value *)value; }
static napi_value handle_of(struct value *value) { return (napi_value)value; }

napi_status napi_typeof(napi_env env, napi_value value, napi_valuetype *result) {
  (void)env;
  *result = of(value)->type;
  return napi_ok;
}

napi_status napi_get_named_property(napi_env env, napi_value object, const char *name, napi_value *result) {
  struct value *holder = of(object);
  (void)env;
  for (unsigned i = 0; i < holder->property_count; i++) {
    if (strcmp(holder->properties[i].name, name) != 0) continue;
    *result = handle_of(holder->properties[i].value);
    return napi_ok;
  }
  *result = handle_of(value_new(napi_undefined));
  return napi_ok;
}

napi_status napi_set_named_property(napi_env env, napi_value object, const char *name, napi_value value) {
  struct value *holder = of(object);
  (void)env;
  if (holder->property_count == MOST_PROPERTIES) abort();
  holder->properties[holder->property_count++] = (struct property){.name = name, .value = of(value)};
  return napi_ok;
}

napi_status napi_get_value_double(napi_env env, napi_value value, double *result) {
  (void)env;
  *result = of(value)->number;
  return napi_ok;
}

napi_status napi_get_value_bool(napi_env env, napi_value value, bool *result) {
  (void)env;
  *result = of(value)->number != 0;
  return napi_ok;
}

napi_status napi_get_value_string_utf8(napi_env env, napi_value value, char *buffer, size_t capacity, size_t *result) {
  const struct value *text = of(value);
  size_t length = text->length;
  (void)env;
  if (buffer == NULL) {
    *result = length;
    return napi_ok;
  }
  if (length > capacity - 1) length = capacity - 1;
  memcpy(buffer, text->text, length);
  buffer[length] = 0;
  *result = length;
  return napi_ok;
}

napi_status napi_is_array(napi_env env, napi_value value, bool *result) {
  (void)env;
  *result = of(value)->is_array;
  return napi_ok;
}

napi_status napi_get_array_length(napi_env env, napi_value value, uint32_t *result) {
  (void)env;
  *result = (uint32_t)of(value)->length;
  return napi_ok;
}

napi_status napi_get_element(napi_env env, napi_value array, uint32_t index, napi_value *result) {
  (void)env;
  if (index >= of(array)->length) abort();
  /* An array longer than what was put into it has its last element from there on. */
  unsigned last = of(array)->property_count - 1;
  *result = handle_of(of(array)->properties[index < last ? index : last].value);
  return napi_ok;
}

napi_status napi_is_typedarray(napi_env env, napi_value value, bool *result) {
  (void)env;
  (void)value;
  *result = false;
  return napi_ok;
}

napi_status napi_get_typedarray_info(napi_env env, napi_value value, napi_typedarray_type *type, size_t *length, void **data,
                                     napi_value *buffer, size_t *offset) {
  (void)env, (void)value, (void)type, (void)length, (void)data, (void)buffer, (void)offset;
  abort();
}

napi_status napi_create_arraybuffer(napi_env env, size_t bytes, void **data, napi_value *result) {
  (void)env;
  if (bytes > MOST_BUFFER_BYTES) return napi_generic_failure;
  struct value *buffer = value_new(napi_object);
  buffer->bytes = calloc(1, bytes);
  if (buffer->bytes == NULL) abort();
  buffer->length = bytes;
  *data = buffer->bytes;
  *result = handle_of(buffer);
  world.memory = buffer;
  return napi_ok;
}

napi_status napi_get_arraybuffer_info(napi_env env, napi_value value, void **data, size_t *bytes) {
  (void)env;
  *data = world.is_detached ? NULL : of(value)->bytes;
  *bytes = world.is_detached ? 0 : of(value)->length;
  return napi_ok;
}

napi_status napi_create_reference(napi_env env, napi_value value, uint32_t count, napi_ref *result) {
  (void)env;
  (void)count;
  *result = (napi_ref)value;
  return napi_ok;
}

napi_status napi_delete_reference(napi_env env, napi_ref reference) {
  (void)env;
  (void)reference;
  return napi_ok;
}

napi_status napi_get_reference_value(napi_env env, napi_ref reference, napi_value *result) {
  (void)env;
  *result = (napi_value)reference;
  return napi_ok;
}

napi_status napi_create_int32(napi_env env, int32_t number, napi_value *result) {
  struct value *value = value_new(napi_number);
  (void)env;
  value->number = number;
  *result = handle_of(value);
  return napi_ok;
}

napi_status napi_create_object(napi_env env, napi_value *result) {
  (void)env;
  *result = handle_of(value_new(napi_object));
  return napi_ok;
}

napi_status napi_create_string_utf8(napi_env env, const char *text, size_t length, napi_value *result) {
  (void)env;
  /* The message has to be text with an end: read it. */
  if (length == NAPI_AUTO_LENGTH) length = strlen(text);
  *result = handle_of(value_new(napi_string));
  return napi_ok;
}

napi_status napi_create_error(napi_env env, napi_value code, napi_value message, napi_value *result) {
  (void)code;
  (void)message;
  return napi_create_object(env, result);
}

napi_status napi_throw(napi_env env, napi_value error) {
  (void)env;
  (void)error;
  /* Two exceptions of one call would hide the first. */
  if (pending) abort();
  pending = true;
  return napi_ok;
}

napi_status napi_is_exception_pending(napi_env env, bool *result) {
  (void)env;
  *result = pending;
  return napi_ok;
}
