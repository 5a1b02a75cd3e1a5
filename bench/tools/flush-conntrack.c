/*
 * Empties the kernel's connection table of this network namespace, so that what one run left waiting
 * (120 s for a closed connection) does not fill the table of the next. Needs CAP_NET_ADMIN.
 */
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
  struct {
    struct nlmsghdr header;
    struct nfgenmsg family;
  } request = {
      .header = {.nlmsg_len = sizeof request,
                 .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
      .family = {.nfgen_family = AF_INET, .version = NFNETLINK_V0},
  };
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
  } answer;
  int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
  if (fd < 0 || send(fd, &request, sizeof request, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0) {
    fprintf(stderr, "flush-conntrack: %s\n", strerror(errno));
    return 1;
  }
  close(fd);
  if (answer.error.error != 0) {
    fprintf(stderr, "flush-conntrack: %s\n", strerror(-answer.error.error));
    return 1;
  }
  return 0;
}
