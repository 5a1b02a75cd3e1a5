/* Addresses of sockets, from text and to text. */
#ifndef SLUICE_SOCKET_ADDRESS_H
#define SLUICE_SOCKET_ADDRESS_H

#include "shim.h"

#include <linux/if_packet.h>
#include <netinet/in.h>
#include <sys/socket.h>

struct address {
  union {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    struct sockaddr_ll link;
  };
  socklen_t length;
};

/*
 * "192.0.2.1" or "2001:db8::1", of this family (AF_UNSPEC: of either). What means something on one link only,
 * means it on that of `ifindex`. False with an exception pending.
 */
bool read_address(const struct call *call, napi_value value, const char *what, int family, uint16_t port, int ifindex,
                  struct address *out);

#endif
