#include "crypto/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int io_fault(struct fault *fault, const char *path, const char *what)
{
    int error = errno;
    return fault_set(fault, err_from_errno(error), "%s: %s: %s", path, what, strerror(error));
}

static int read_all(int fd, char *p, size_t max, size_t *ret)
{
    size_t n = 0;
    while (n < max) {
        ssize_t got = read(fd, p + n, max - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *ret = n;
    return 0;
}

int file_read(const char *path, size_t max, bool secret, char **ret, size_t *ret_n,
              struct fault *fault)
{
    struct stat st;
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return io_fault(fault, path, "cannot be opened");
    int r = fstat(fd, &st) < 0 ? io_fault(fault, path, "cannot be read") : 0;
    if (r == 0 && secret && (st.st_mode & 077) != 0)
        r = fault_set(fault, ERR_DENIED,
                      "%s holds a secret, but others than its owner may read it: chmod 600 it",
                      path);
    char *p = r == 0 ? malloc(max + 2) : NULL;
    if (r == 0 && p == NULL)
        r = fault_set(fault, ERR_NOMEM, "out of memory");
    if (r == 0 && read_all(fd, p, max + 1, &n) < 0)
        r = io_fault(fault, path, "cannot be read");
    if (r == 0 && n > max)
        r = fault_set(fault, ERR_TOOLARGE, "%s is larger than %zu bytes", path, max);
    (void)close(fd);
    if (r < 0) {
        free(p);
        return r;
    }
    p[n] = 0;
    *ret = p;
    *ret_n = n;
    return 0;
}

static int write_all(int fd, struct slice s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        s = slice_sub(s, (size_t)n, SIZE_MAX);
    }
    return 0;
}

/* `place` puts the temporary file where it belongs. */
static int write_beside(const char *path, struct slice text, mode_t mode,
                        int (*place)(const char *, const char *), struct fault *fault)
{
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary)
        return fault_set(fault, ERR_TOOLARGE, "%s: the path is too long", path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return io_fault(fault, path, "cannot be written");
    int r = 0;
    if (fchmod(fd, mode) < 0 || write_all(fd, text) < 0 || fsync(fd) < 0)
        r = io_fault(fault, path, "cannot be written");
    (void)close(fd);
    if (r == 0 && place(temporary, path) < 0)
        r = io_fault(fault, path, "cannot be written");
    (void)unlink(temporary);
    return r;
}

int file_write(const char *path, struct slice text, mode_t mode, struct fault *fault)
{
    return write_beside(path, text, mode, rename, fault);
}

int file_create(const char *path, struct slice text, mode_t mode, struct fault *fault)
{
    return write_beside(path, text, mode, link, fault);
}
