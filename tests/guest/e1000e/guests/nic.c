/* Offloads and statistics of a network card, by its driver's ethtool interface.
 *   nic IFACE tso|tx|rx on|off
 *   nic IFACE stat NAME */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int fd;
static struct ifreq request;

static int ask(void* what) {
  request.ifr_data = what;
  return ioctl(fd, SIOCETHTOOL, &request);
}

static int set(unsigned command, int on) {
  struct ethtool_value value = {command, on};
  if (ask(&value)) perror("nic");
  return 0;
}

static int print_statistic(const char* name) {
  struct ethtool_drvinfo about = {.cmd = ETHTOOL_GDRVINFO};
  if (ask(&about)) return perror("nic"), 1;
  struct ethtool_gstrings* names = calloc(1, sizeof *names + about.n_stats * ETH_GSTRING_LEN);
  struct ethtool_stats* values = calloc(1, sizeof *values + about.n_stats * sizeof(__u64));
  if (!names || !values) return 1;
  *names = (struct ethtool_gstrings){.cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_STATS, .len = about.n_stats};
  *values = (struct ethtool_stats){.cmd = ETHTOOL_GSTATS, .n_stats = about.n_stats};
  if (ask(names) || ask(values)) return perror("nic"), 1;
  for (unsigned i = 0; i < about.n_stats; ++i)
    if (!strncmp((char*)names->data + i * ETH_GSTRING_LEN, name, ETH_GSTRING_LEN)) return printf("%llu\n", values->data[i]), 0;
  return fprintf(stderr, "nic: there is no %s\n", name), 1;
}

int main(int count, char** arguments) {
  if (count != 4) return 2;
  fd = socket(AF_INET, SOCK_DGRAM, 0);
  strncpy(request.ifr_name, arguments[1], IFNAMSIZ - 1);
  const char *what = arguments[2], *value = arguments[3];
  if (!strcmp(what, "stat")) return print_statistic(value);
  const int on = !strcmp(value, "on");
  if (!strcmp(what, "tso")) return set(ETHTOOL_STSO, on);
  if (!strcmp(what, "tx")) return set(ETHTOOL_STXCSUM, on);
  if (!strcmp(what, "rx")) return set(ETHTOOL_SRXCSUM, on);
  return 2;
}
