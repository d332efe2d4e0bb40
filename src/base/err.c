#include "base/err.h"

#include <errno.h>
#include <stddef.h>

struct row {
    int code;
    const char *name, *text;
    unsigned status, h2;
    _Bool repeats;
};

static const struct row ROWS[] = {
#define X(n, number, t, s, h, r)                                                                   \
    { .code = -(number), .name = #n, .text = t, .status = s, .h2 = h, .repeats = r },
    ERR_TABLE(X)
#undef X
};

#define NAME_BYTES_MAX 12

static const char NAMES[][NAME_BYTES_MAX] = {
    "again",    "eof",     "nomem",  "limit", "proto",  "parse",    "invalid",     "range",
    "notfound", "exists",  "denied", "busy",  "io",     "refused",  "reset",       "unreach",
    "resolve",  "timeout", "tls",    "cert",  "closed", "canceled", "unsupported", "toolarge",
    "noroute",  "nolink",  "origin", "auth",  "cut",
};

_Static_assert(sizeof NAMES / sizeof NAMES[0] == sizeof ROWS / sizeof ROWS[0],
               "one short name for each error");

static const struct row *row_of(int code)
{
    /* Rows are in order of their number, starting from 1. */
    size_t index = code < 0 ? (size_t)(-(long)code) - 1 : sizeof ROWS;
    return index < sizeof ROWS / sizeof ROWS[0] ? &ROWS[index] : NULL;
}

const char *err_text(int code)
{
    const struct row *row = row_of(code);
    return code == 0 ? "ok" : row != NULL ? row->text : "unknown error";
}

const char *err_name(int code)
{
    const struct row *row = row_of(code);
    return code == 0 ? "ok" : row != NULL ? NAMES[row - ROWS] : "unknown";
}

unsigned err_status(int code)
{
    const struct row *row = row_of(code);
    return row != NULL ? row->status : 500;
}

unsigned err_h2_code(int code)
{
    const struct row *row = row_of(code);
    return row != NULL ? row->h2 : 0x2;
}

_Bool err_repeats(int code)
{
    const struct row *row = row_of(code);
    return row != NULL && row->repeats;
}

int err_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return 0;
    case EAGAIN:
    case EINPROGRESS:
    case EINTR:
        return ERR_AGAIN;
    case ENOMEM:
    case ENOBUFS:
        return ERR_NOMEM;
    case EMFILE:
    case ENFILE:
        return ERR_LIMIT;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    case ENOENT:
        return ERR_NOTFOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EADDRINUSE:
    case EBUSY:
        return ERR_BUSY;
    case ECONNREFUSED:
        return ERR_REFUSED;
    case ECONNRESET:
    case EPIPE:
    case ECONNABORTED:
        return ERR_RESET;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL:
        return ERR_UNREACH;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case EINVAL:
        return ERR_INVALID;
    case EMSGSIZE:
        return ERR_TOOLARGE;
    case ENOTSUP:
    case ENOSYS:
    case EAFNOSUPPORT:
        return ERR_UNSUPPORTED;
    default:
        return ERR_IO;
    }
}
