#include "http/trace.h"

#define TRACEPARENT_BYTES 55 /* of version 00; later ones may add "-…" */
#define TRACE_AT          3
#define TRACE_DIGITS      32
#define PARENT_AT         36
#define PARENT_DIGITS     16
#define FLAGS_AT          53

static bool is_hex(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

static bool is_zero(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '0')
            return false;
    return true;
}

static bool is_valid(struct slice v)
{
    struct slice version = slice_sub(v, 0, 2), trace = slice_sub(v, TRACE_AT, TRACE_DIGITS);
    struct slice parent = slice_sub(v, PARENT_AT, PARENT_DIGITS);
    if (v.n < TRACEPARENT_BYTES || v.p[2] != '-' || v.p[PARENT_AT - 1] != '-' ||
        v.p[FLAGS_AT - 1] != '-')
        return false;
    if (!is_hex(version) || slice_eq(version, SLICE("ff")) || !is_hex(slice_sub(v, FLAGS_AT, 2)))
        return false;
    if (v.n > TRACEPARENT_BYTES && (is_zero(version) || v.p[TRACEPARENT_BYTES] != '-'))
        return false;
    return is_hex(trace) && !is_zero(trace) && is_hex(parent) && !is_zero(parent);
}

bool trace_of(const struct fields *f, struct slice *ret)
{
    const struct field *parent = fields_get(f, SLICE("traceparent"));
    if (parent == NULL || !is_valid(parent->value) || fields_count(f, SLICE("traceparent")) != 1)
        return false;
    *ret = slice_sub(parent->value, TRACE_AT, TRACE_DIGITS);
    return true;
}

void trace_clean(struct fields *f)
{
    struct slice trace;
    if (fields_get(f, SLICE("traceparent")) == NULL || trace_of(f, &trace))
        return;
    (void)fields_remove(f, SLICE("traceparent"));
    (void)fields_remove(f, SLICE("tracestate"));
}
