/*
 * TUN queues, and the eBPF program that chooses among them (Linux: drivers/net/tun.c).
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* tunOpen({name, flags, offload, vnetHeaderBytes}): one queue of the device `name`, non-blocking. */
napi_value tun_open(napi_env env, napi_callback_info info) {
  struct call call;
  char name[IFNAMSIZ];
  int64_t flags, offload, header_bytes;
  if (!call_begin(&call, env, info, "tunOpen", 1)) return NULL;
  napi_value options = call.arguments[0];
  if (!read_text_property(&call, options, "name", name, sizeof name) ||
      !read_integer_property(&call, options, "flags", 0, UINT16_MAX, &flags) ||
      !read_integer_property(&call, options, "offload", 0, UINT16_MAX, &offload) ||
      !read_integer_property(&call, options, "vnetHeaderBytes", 10, 64, &header_bytes)) {
    return NULL;
  }
  /* The kernel would put a number in its place, another one for every queue. */
  if (strchr(name, '%') != NULL) return fail_argument(&call, "name must not contain %%, got %s", name);

  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return fail(&call, errno, "open /dev/net/tun", "%s", name);

  struct ifreq request = {.ifr_flags = (short)flags};
  memcpy(request.ifr_name, name, sizeof name);
  int header = (int)header_bytes;
  const char *step = "ioctl TUNSETIFF";
  int result = ioctl(fd, TUNSETIFF, &request);
  if (result == 0) {
    step = "ioctl TUNSETVNETHDRSZ";
    result = ioctl(fd, TUNSETVNETHDRSZ, &header);
  }
  if (result == 0) {
    step = "ioctl TUNSETOFFLOAD";
    result = ioctl(fd, TUNSETOFFLOAD, (unsigned long)offload);
  }
  if (result < 0) {
    int error = errno;
    close(fd);
    return fail(&call, error, step, "%s", name);
  }
  return registry_add(&call, fd, KIND_TUN, 0, false);
}

/* The verifier gives up with EAGAIN when a signal comes in, which on a busy machine it does; libbpf tries again as well. */
static int load_program(union bpf_attr *attributes) {
  int fd = -1;
  for (int tries = 0; fd < 0 && tries < 100; tries++) {
    fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, attributes, sizeof *attributes);
    if (fd < 0 && errno != EAGAIN) break;
  }
  return fd;
}

/* programLoad(instructions): an eBPF socket filter, given as struct bpf_insn. */
napi_value program_load(napi_env env, napi_callback_info info) {
  struct call call;
  void *instructions;
  size_t count;
  if (!call_begin(&call, env, info, "programLoad", 1)) return NULL;
  if (!read_records(&call, call.arguments[0], "instructions", sizeof(struct bpf_insn), BPF_MAXINSNS, &instructions, &count)) {
    return NULL;
  }
  char complaint[256] = "";
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = (uintptr_t)instructions;
  attributes.insn_cnt = (uint32_t)count;
  attributes.license = (uintptr_t) "MIT";
  int fd = load_program(&attributes);
  if (fd < 0 && (errno == EINVAL || errno == EACCES)) {
    /* Once more, for the verifier's reason: with a log buffer a valid program can fail when its log does not fit. */
    attributes.log_buf = (uintptr_t)complaint;
    attributes.log_size = sizeof complaint;
    attributes.log_level = 1;
    fd = load_program(&attributes);
    complaint[sizeof complaint - 1] = '\0';
  }
  if (fd < 0) return fail(&call, errno, "bpf BPF_PROG_LOAD", "%zu instructions %s", count, complaint);
  return registry_add(&call, fd, KIND_PROGRAM, 0, false);
}

/* tunSteer(tunFd, programFd): the device asks the program for the queue of every packet. It keeps the program; its descriptor can be closed. */
napi_value tun_steer(napi_env env, napi_callback_info info) {
  struct call call;
  int64_t tun_fd, program_fd;
  if (!call_begin(&call, env, info, "tunSteer", 2)) return NULL;
  if (!read_integer(&call, call.arguments[0], "tunFd", 0, INT32_MAX, &tun_fd) ||
      !read_integer(&call, call.arguments[1], "programFd", 0, INT32_MAX, &program_fd)) {
    return NULL;
  }
  struct descriptor *tun = registry_hold(&call, tun_fd, KIND_TUN, "tunFd");
  if (tun == NULL) return NULL;
  struct descriptor *program = registry_hold(&call, program_fd, KIND_PROGRAM, "programFd");
  if (program == NULL) {
    registry_release(tun);
    return NULL;
  }
  int number = program->fd;
  int error = ioctl(tun->fd, TUNSETSTEERINGEBPF, &number) < 0 ? errno : 0;
  registry_release(program);
  registry_release(tun);
  if (error != 0) return fail(&call, error, "ioctl TUNSETSTEERINGEBPF", "tunFd %lld", (long long)tun_fd);
  return NULL;
}
