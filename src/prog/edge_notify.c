#include "prog/edge_notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int edge_notify_open(void)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    const char *name = getenv("NOTIFY_SOCKET");
    size_t n = name != NULL ? strlen(name) : 0;
    if (n < 2 || n >= sizeof un.sun_path)
        return -1;
    memcpy(un.sun_path, name, n);
    if (name[0] == '@')
        un.sun_path[0] = 0; /* a name without a file */
    (void)unsetenv("NOTIFY_SOCKET");
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&un, size) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

void edge_notify(int fd, const char *state)
{
    char text[128];
    int n = snprintf(text, sizeof text, "%s\nMAINPID=%ld\n", state, (long)getpid());
    if (fd >= 0)
        (void)!send(fd, text, (size_t)n, MSG_NOSIGNAL);
}
