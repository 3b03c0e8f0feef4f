/* Keeps the static program from loading modules of the name service switch: a module fits only the C library that it was
   built with. Host names come from /etc/hosts and DNS, whatever /etc/nsswitch.conf says. build.rs links this. */

#include <nss.h>

__attribute__((constructor)) static void use_files_and_dns(void) { __nss_configure_lookup("hosts", "files dns"); }
