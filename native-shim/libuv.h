/*
 * The few functions of libuv that the shim uses, declared here: node-api-headers has no uv.h, and the headers of one
 * Node would tie the shim to it. libuv promises that these do not change within version 1, which every Node since
 * 0.12 has, and the node program exports them (docs.libuv.org, "ABI guarantees" and "uv_poll_t"). Handles are opaque;
 * uv_handle_size says how long one is.
 */
#ifndef SLUICE_LIBUV_H
#define SLUICE_LIBUV_H

#include <stddef.h>

typedef struct uv_loop_s uv_loop_t;
typedef struct uv_handle_s uv_handle_t;
typedef struct uv_poll_s uv_poll_t;

/* Of uv_handle_type and uv_poll_event. */
enum { UV_POLL = 8, UV_READABLE = 1, UV_WRITABLE = 2 };

size_t uv_handle_size(int type);
void *uv_handle_get_data(const uv_handle_t *handle);
void uv_handle_set_data(uv_handle_t *handle, void *data);
void uv_close(uv_handle_t *handle, void (*closed)(uv_handle_t *handle));
int uv_poll_init(uv_loop_t *loop, uv_poll_t *handle, int fd);
/* `happened`: status 0 and the events; or a negative status when the socket has an error, and then it is polled no more. */
int uv_poll_start(uv_poll_t *handle, int events, void (*happened)(uv_poll_t *handle, int status, int events));

#endif
