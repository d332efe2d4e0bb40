#pragma once
/* What a service manager is told (systemd's Type=notify): a line to the socket that NOTIFY_SOCKET
 * names. */

/* To be called before confinement; the variable is removed. -1: nobody wants to know. */
int edge_notify_open(void);
/* `state`, such as READY=1, and which process we are: behind an upgrade it is another. */
void edge_notify(int fd, const char *state);
