/*
 * Errors as JavaScript expects them of a system call: an Error whose `code` is the errno's name and
 * whose `syscall` says what failed. The names are listed here, because glibc has a function for them
 * only since 2.32 and musl has none.
 */
#include "shim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME(error) {error, #error}

static const struct {
  int error;
  const char *name;
} names[] = {
    NAME(EPERM),    NAME(ENOENT),    NAME(EINTR),       NAME(EIO),         NAME(ENXIO),    NAME(E2BIG),
    NAME(EBADF),    NAME(EAGAIN),    NAME(ENOMEM),      NAME(EACCES),      NAME(EFAULT),   NAME(EBUSY),
    NAME(EEXIST),   NAME(ENODEV),    NAME(ENOTDIR),     NAME(EINVAL),      NAME(ENFILE),   NAME(EMFILE),
    NAME(ENOTTY),   NAME(ENOSPC),    NAME(ESPIPE),      NAME(EROFS),       NAME(EPIPE),    NAME(ERANGE),
    NAME(ENOSYS),   NAME(EBADFD),    NAME(ENOTSOCK),    NAME(EMSGSIZE),    NAME(EPROTO),   NAME(EPROTOTYPE),
    NAME(ENOPROTOOPT), NAME(EPROTONOSUPPORT), NAME(ESOCKTNOSUPPORT), NAME(EOPNOTSUPP), NAME(EAFNOSUPPORT),
    NAME(EADDRINUSE), NAME(EADDRNOTAVAIL), NAME(ENETDOWN), NAME(ENETUNREACH), NAME(ENOBUFS), NAME(EISCONN),
    NAME(ENOTCONN), NAME(ETIMEDOUT), NAME(EHOSTDOWN),   NAME(EHOSTUNREACH), NAME(EALREADY),
    NAME(ECONNREFUSED), NAME(ECONNRESET), NAME(ECONNABORTED), NAME(ENETRESET), NAME(ENONET),
    NAME(EDESTADDRREQ),
};

static const char *name_of(int error, char *buffer, size_t capacity) {
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (names[i].error == error) return names[i].name;
  }
  snprintf(buffer, capacity, "E%d", error);
  return buffer;
}

/* Anything that goes wrong in here leaves Node's own exception pending, which is the best there is. */
static void throw_error(napi_env env, const char *code, const char *system_call, const char *message) {
  napi_value error, text, code_value, call_value;
  if (napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &text) != napi_ok) return;
  if (napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &code_value) != napi_ok) return;
  if (napi_create_string_utf8(env, system_call, NAPI_AUTO_LENGTH, &call_value) != napi_ok) return;
  if (napi_create_error(env, code_value, text, &error) != napi_ok) return;
  if (napi_set_named_property(env, error, "syscall", call_value) != napi_ok) return;
  napi_throw(env, error);
}

napi_value fail(const struct call *call, int error, const char *system_call, const char *format, ...) {
  char detail[512], message[1024], number[16], reason[128];
  va_list list;
  va_start(list, format);
  vsnprintf(detail, sizeof detail, format, list);
  va_end(list);
  const char *code = name_of(error, number, sizeof number);
  snprintf(message, sizeof message, "%s: %s: %s, %s (%s)", call->function, detail, code,
           strerror_r(error, reason, sizeof reason), system_call);
  throw_error(call->env, code, system_call, message);
  return NULL;
}

napi_value fail_argument(const struct call *call, const char *format, ...) {
  char detail[512], message[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(detail, sizeof detail, format, list);
  va_end(list);
  snprintf(message, sizeof message, "%s: %s", call->function, detail);
  throw_error(call->env, "EINVAL", call->function, message);
  return NULL;
}

bool succeeded(const struct call *call, napi_status status) {
  if (status == napi_ok) return true;
  bool pending = false;
  if (napi_is_exception_pending(call->env, &pending) == napi_ok && !pending) {
    fail_argument(call, "Node-API refused the call (status %d)", (int)status);
  }
  return false;
}
