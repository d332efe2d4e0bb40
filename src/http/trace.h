#pragma once
/* W3C Trace Context: of a proxy that takes no part in traces but names them in its log, and passes
 * them on. */
#include "http/fields.h"

/* The trace id (32 hexadecimal digits, borrowed) of a request with one valid traceparent; false
 * when there is none. */
bool trace_of(const struct fields *f, struct slice *ret);
/* A valid traceparent stays as it is, with its tracestate. One that is not, or that is there twice,
 * goes, and tracestate with it: nobody behind us could tell what they belong to (§3.2.2.5, §4.3).
 */
void trace_clean(struct fields *f);
