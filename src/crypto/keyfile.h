#pragma once
/* Files that hold secrets: 0600, written whole or not at all. Any thread. */
#include <sys/types.h>

#include "base/fault.h"
#include "base/slice.h"

/* Reads a file of at most `max` bytes; *ret from malloc with a NUL behind it. `secret`: refused
 * when group or others may read it. ERR_NOTFOUND, ERR_DENIED, ERR_TOOLARGE, ERR_IO. */
int file_read(const char *path, size_t max, bool secret, char **ret, size_t *ret_n,
              struct fault *fault) __attribute__((warn_unused_result));
/* Writes a temporary file beside it, syncs, renames. */
int file_write(const char *path, struct slice text, mode_t mode, struct fault *fault)
    __attribute__((warn_unused_result));
/* Likewise, but never over a file that is there: ERR_EXISTS. */
int file_create(const char *path, struct slice text, mode_t mode, struct fault *fault)
    __attribute__((warn_unused_result));
