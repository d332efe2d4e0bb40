#include "http/h2_fields.h"

#include "base/err.h"
#include "base/text.h"
#include "codec/http1_names.h"

static bool is_secret(struct slice name)
{
    return slice_eq_nocase(name, SLICE("authorization")) ||
           slice_eq_nocase(name, SLICE("proxy-authorization")) ||
           slice_eq_nocase(name, SLICE("cookie")) || slice_eq_nocase(name, SLICE("set-cookie"));
}

static bool stays_here(const struct fields *f, const struct field *line, bool names_fields)
{
    enum http1_name known = http1_name_of(line->name);
    if (known == HTTP1_HOST || known == HTTP1_CONTENT_LENGTH)
        return true;
    unsigned marks = http1_name_marks(known);
    if ((marks & HTTP1_HOP) != 0)
        return known != HTTP1_PROXY_AUTHENTICATE && known != HTTP1_PROXY_AUTHORIZATION;
    return names_fields && (marks & HTTP1_END) == 0 &&
           fields_has_token(f, SLICE("connection"), line->name);
}

int h2_fields_out(const struct fields *from, struct arena *arena, size_t extra,
                  struct h2_field **ret, size_t *ret_count)
{
    struct h2_field *out = arena_alloc(arena, (from->count + extra + 1) * sizeof *out);
    size_t n = extra;
    bool names_fields = fields_get(from, SLICE("connection")) != NULL;
    if (out == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < from->count; i++) {
        const struct field *line = &from->lines[i];
        if (!stays_here(from, line, names_fields))
            out[n++] = (struct h2_field){ line->name, line->value, is_secret(line->name) };
    }
    if (fields_has_token(from, SLICE("te"), SLICE("trailers"))) {
        out[n] = (struct h2_field){ SLICE("te"), SLICE("trailers"), false };
        n++;
    }
    *ret = out;
    *ret_count = n;
    return 0;
}

int h2_field_length(uint64_t length, struct arena *arena, struct h2_field *ret)
{
    char text[U64_TEXT_BYTES];
    struct slice value = arena_copy(arena, slice_of(text, u64_text(length, text)));
    if (value.p == NULL)
        return ERR_NOMEM;
    *ret = (struct h2_field){ SLICE("content-length"), value, false };
    return 0;
}

/* ---- received ---- */

static bool is_cookie(const struct h2_field *f)
{
    return slice_eq(f->name, SLICE("cookie"));
}

static int add_cookies(const struct h2_head *head, struct fields *to)
{
    size_t bytes = 0, n = 0;
    for (size_t i = 0; i < head->count; i++)
        if (is_cookie(&head->fields[i]))
            bytes += head->fields[i].value.n + 2;
    if (bytes == 0)
        return 0;
    uint8_t *all = arena_alloc(to->arena, bytes);
    struct slice name = arena_copy(to->arena, SLICE("cookie")); /* the caller may change its case */
    if (all == NULL || name.p == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < head->count; i++) {
        struct slice value = head->fields[i].value;
        if (!is_cookie(&head->fields[i]))
            continue;
        if (n > 0) {
            memcpy(all + n, "; ", 2);
            n += 2;
        }
        if (value.n > 0)
            memcpy(all + n, value.p, value.n);
        n += value.n;
    }
    return fields_add(to, name, slice_of(all, n));
}

int h2_fields_in(const struct h2_head *head, struct fields *to)
{
    for (size_t i = 0; i < head->count; i++) {
        const struct h2_field *f = &head->fields[i];
        if (slice_eq(f->name, SLICE("content-length")) || slice_eq(f->name, SLICE("host")) ||
            is_cookie(f))
            continue;
        int r = fields_add_copy(to, f->name, f->value);
        if (r < 0)
            return r;
    }
    return add_cookies(head, to);
}
