#pragma once
/* What the files of the HTTP/1.1 codec share among themselves. */
#include "codec/http1.h"
#include "codec/http1_chars.h"

enum http1_kind { HTTP1_REQUEST, HTTP1_RESPONSE };

/* Looks for the end of the head from where the last call stopped. 0: scan->at is just behind the
 * empty line, and every line ends with CRLF. The verdict depends on the bytes alone, never on how
 * they were cut into calls. */
int http1_scan_run(struct http1_scan *scan, struct slice bytes, const struct http1_limits *limits,
                   enum http1_kind kind, size_t fields_max, enum http1_why *ret_why);

/* Takes head->target apart by head->method. */
int http1_target_parse(struct http1_head *head);

static inline int http1_refuse(enum http1_why *ret_why, enum http1_why why, int err)
{
    *ret_why = why;
    return err;
}
