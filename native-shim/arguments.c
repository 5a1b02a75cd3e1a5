/*
 * Reading what JavaScript passed. Node-API's own integer getters turn NaN into 0 and wrap at 2^32, so
 * every number is read as a double and must be whole and within its bounds.
 */
#include "shim.h"

#include <string.h>

static bool has_type(const struct call *call, napi_value value, napi_valuetype wanted, const char *what,
                     const char *expected) {
  napi_valuetype type;
  if (!succeeded(call, napi_typeof(call->env, value, &type))) return false;
  if (type == wanted) return true;
  fail_argument(call, "%s must be %s", what, expected);
  return false;
}

bool is_nullish(const struct call *call, napi_value value) {
  napi_valuetype type;
  return napi_typeof(call->env, value, &type) == napi_ok && (type == napi_null || type == napi_undefined);
}

bool read_property(const struct call *call, napi_value object, const char *name, napi_value *out) {
  if (!has_type(call, object, napi_object, "the argument", "an object")) return false;
  return succeeded(call, napi_get_named_property(call->env, object, name, out));
}

bool read_integer(const struct call *call, napi_value value, const char *what, int64_t least, int64_t most, int64_t *out) {
  double number;
  if (!has_type(call, value, napi_number, what, "a number")) return false;
  if (!succeeded(call, napi_get_value_double(call->env, value, &number))) return false;
  if (!(number >= (double)least && number <= (double)most) || number != (double)(int64_t)number) {
    fail_argument(call, "%s must be a whole number from %lld to %lld, got %.17g", what, (long long)least, (long long)most,
                  number);
    return false;
  }
  *out = (int64_t)number;
  return true;
}

bool read_integer_property(const struct call *call, napi_value object, const char *name, int64_t least, int64_t most,
                           int64_t *out) {
  napi_value value;
  return read_property(call, object, name, &value) && read_integer(call, value, name, least, most, out);
}

bool read_boolean_property(const struct call *call, napi_value object, const char *name, bool *out) {
  napi_value value;
  return read_property(call, object, name, &value) && has_type(call, value, napi_boolean, name, "true or false") &&
         succeeded(call, napi_get_value_bool(call->env, value, out));
}

bool read_text(const struct call *call, napi_value value, const char *what, char *out, size_t capacity) {
  size_t bytes = 0, copied = 0;
  if (!has_type(call, value, napi_string, what, "a string")) return false;
  if (!succeeded(call, napi_get_value_string_utf8(call->env, value, NULL, 0, &bytes))) return false;
  if (bytes == 0 || bytes >= capacity) {
    fail_argument(call, "%s must be a string of 1 to %zu bytes, got %zu", what, capacity - 1, bytes);
    return false;
  }
  if (!succeeded(call, napi_get_value_string_utf8(call->env, value, out, capacity, &copied))) return false;
  if (strlen(out) != bytes) {
    fail_argument(call, "%s must not contain a NUL character", what);
    return false;
  }
  return true;
}

bool read_text_property(const struct call *call, napi_value object, const char *name, char *out, size_t capacity) {
  napi_value value;
  return read_property(call, object, name, &value) && read_text(call, value, name, out, capacity);
}

bool read_records(const struct call *call, napi_value value, const char *what, size_t record_bytes, size_t most,
                  void **records, size_t *count) {
  bool is_typed_array = false;
  napi_typedarray_type type = napi_int8_array;
  size_t bytes = 0;
  if (!succeeded(call, napi_is_typedarray(call->env, value, &is_typed_array))) return false;
  if (is_typed_array &&
      !succeeded(call, napi_get_typedarray_info(call->env, value, &type, &bytes, records, NULL, NULL))) {
    return false;
  }
  if (!is_typed_array || type != napi_uint8_array) {
    fail_argument(call, "%s must be a Uint8Array", what);
    return false;
  }
  if (bytes == 0 || bytes % record_bytes != 0 || bytes / record_bytes > most) {
    fail_argument(call, "%s must hold 1 to %zu records of %zu bytes, got %zu bytes", what, most, record_bytes, bytes);
    return false;
  }
  *count = bytes / record_bytes;
  return true;
}
